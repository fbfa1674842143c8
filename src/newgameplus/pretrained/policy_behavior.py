"""The clip backbone of the behavior scenario as a policy's eyes: ``behavior:RUN-FOLDER`` or ``behavior:bundled:NAME``.

What the game shows is a stack of pictures (or one). It is brought to the clip that the backbone was trained on: frames
are told apart in the channels, oldest first, turned grey or to colour, spread over the clip's frames (a single frame
stands still), and resized. The backbone stays in evaluation mode whatever the policy does: statistics of batches would
make a policy answer differently when it learns than when it plays.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from newgameplus.errors import PretrainedModelError, RunError
from newgameplus.files import digest_file
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import SOURCES, load_pretrained, rebuild_pretrained
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_backbone import build_with_backbone, choose_part
from newgameplus.pretrained.policy_encoders import Encoder
from newgameplus.pretrained.policy_request import PolicyRequest
from newgameplus.pretrained.policy_run import model_folder
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ObservationPart
from newgameplus.tensors import load_tensors

__all__ = ["BehaviorEncoder", "build_encoder", "load"]

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as the videos of the behavior scenario are turned grey
_PREFIX = "backbone."


class BehaviorEncoder(Encoder):
    """Pictures of a game through a clip backbone.

    Args:
        part: The pictures: channels first, frames (oldest first) and colours in the channels.
        model: The backbone and its card.
        colours: Channels of one frame, 1 or 3.
    """

    orthogonal = False

    def __init__(self, part: ObservationPart, model: PretrainedModel, colours: int) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.clip = model.card.shape
        self.colours = colours
        self.scale = 255.0 / part.high if part.high else 1.0
        self.width = model.backbone.feature_dim
        self.places: Tensor
        self.register_buffer("places", _spread(part.shape[0] // colours, self.clip.frames), persistent=False)

    def train(self, mode: bool = True) -> BehaviorEncoder:
        """Set the mode of everything but the backbone, which stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, values: Tensor) -> Tensor:
        """Turn [batch, channels, height, width] into float32 [batch, width]."""
        features: Tensor = self.backbone(self.clips(values))
        return features

    def clips(self, values: Tensor) -> Tensor:
        """Turn [batch, channels, height, width] into clips, float32 [batch, frames, height, width, colours], 0..255."""
        batch, _, height, width = values.shape
        size = (self.clip.height, self.clip.width)
        frames = values.float().reshape(batch, -1, self.colours, height, width)
        if self.scale != 1.0:
            frames = frames * self.scale
        frames = frames[:, self.places]
        if self.colours == 3 and self.clip.channels == 1:
            grey = torch.tensor(_GREY, device=frames.device)
            frames = (frames * grey[:, None, None]).sum(dim=2, keepdim=True)
        elif self.colours == 1 and self.clip.channels == 3:
            frames = frames.expand(-1, -1, 3, -1, -1)
        if (height, width) != size:
            flat = frames.flatten(0, 1)
            flat = functional.interpolate(flat, size, mode="bilinear", antialias=True, align_corners=False)
            frames = flat.reshape(batch, -1, self.clip.channels, *size)
        return frames.movedim(2, -1)


def _spread(there: int, wanted: int) -> Tensor:
    """Return which frames make the clip: the newest ones, or, if there are too few, all of them spread over it."""
    if there >= wanted:
        return torch.arange(there - wanted, there)
    return torch.linspace(0, there - 1, wanted).round().long()


def build_encoder(part: ObservationPart, shape: PolicyShape) -> BehaviorEncoder:
    """Build the encoder that a blueprint describes, with random weights; nothing else is needed."""
    facts = shape.backbone
    model = rebuild_pretrained(ModelCard.from_dict(dict(facts["card"])))
    return BehaviorEncoder(part, model, int(facts["colours"]))


def load(name: str, request: PolicyRequest, *, part: str | None = None, colours: int | None = None) -> Policy:
    """Build a policy that sees through a clip backbone; everything behind it starts anew.

    Args:
        name: A run folder of the behavior scenario, or a pretrained clip model (``bundled:doom-clips``).
        request: The game.
        part: Which part of the observation are the pictures; None if there is only one.
        colours: Channels of one frame, 1 or 3. None takes 3 if the channels can be divided by it, else 1.

    Raises:
        PretrainedModelError: There is no such model, or it does not fit the game.
        RunError: The run's model is damaged.
    """
    full = f"behavior:{name}"
    found, _, _ = choose_part("image", part, request, full)
    channels = found.shape[0]
    chosen = colours or (3 if channels % 3 == 0 else 1)
    if chosen not in (1, 3) or channels % chosen:
        raise PretrainedModelError(
            f"{channels} channels of {found.name!r} are no frames of {chosen} colours",
            source="model.options",
            remedy="give colours: 1 (grey) or 3",
        )
    model, digest = _load_model(name, request.source_key)
    backbone = {"kind": "behavior", "part": found.name, "colours": chosen, "card": _plain(model.card)}
    facts = {"backbone": model.card.name, "license": model.card.license, "backbone_digest": digest}
    return build_with_backbone(full, request, backbone, {"backbone": model.backbone}, facts)


def _load_model(name: str, source_key: str) -> tuple[PretrainedModel, str]:
    """Load the backbone by the name of a pretrained model or from a run; and the digest of its weights."""
    if name.partition(":")[0] in SOURCES:
        model = load_pretrained(name)
        return model, model.card.digest
    folder = model_folder(name, source_key)
    remedy = "name a run of the behavior scenario, or a pretrained model (bundled:doom-clips)"
    try:
        content = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        card, digest = ModelCard.from_dict(dict(content["start"])), str(content["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        kind = content.get("kind", "") if "content" in locals() and isinstance(content, dict) else ""
        message = f"this is no model of the behavior scenario{f' but a {kind}' if kind else ''} ({error!r})"
        raise PretrainedModelError(message, source=str(folder / "card.json"), remedy=remedy) from error
    weights = folder / "model.safetensors"
    again = "finish the run first (ngp resume), restore it from a copy, or fit again"
    if not weights.is_file() or digest_file(weights) != digest:
        raise RunError("the weights are missing or not those of the card", source=str(weights), remedy=again)
    model = rebuild_pretrained(card)
    tensors, _ = load_tensors(weights)
    own = {key.removeprefix(_PREFIX): value for key, value in tensors.items() if key.startswith(_PREFIX)}
    try:
        model.backbone.load_state_dict(own)
    except RuntimeError as error:
        raise RunError(f"the weights do not fit the card: {error}", source=str(weights), remedy=again) from error
    model.backbone.eval()
    return model, digest


def _plain(card: ModelCard) -> dict[str, Any]:
    """Return a card with what is needed to build its network again, as JSON would give it back."""
    content: dict[str, Any] = json.loads(json.dumps(card.as_dict()))
    return content
