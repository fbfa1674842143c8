"""Any plain torch network of pictures or video as a pretrained model: torchvision's, timm's, or the user's own.

One forward pass shows where to cut: the head is the linear layer whose output is the network's (see
:mod:`newgameplus.pretrained.structure`); without one, the network's own output are the features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from newgameplus.errors import PretrainedModelError
from newgameplus.files import digest_bytes
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.pixel_backbone import PixelBackbone, normalize, probe_clips, read_features, zero_shot_head
from newgameplus.pretrained.preprocessing import Preprocessing
from newgameplus.pretrained.structure import Head, block_modules, find_blocks, find_head, watch_linears
from newgameplus.pretrained.torch_file import check_finite
from newgameplus.pretrained.transformers_blueprint import explained
from newgameplus.shapes import ClipShape

__all__ = ["assemble", "describe_network", "digest_weights", "network_facts", "read_facts"]

_LISTS = (nn.ModuleList, nn.Sequential)


def network_facts(preprocessing: Preprocessing, pooling: str | None, layout: str) -> dict[str, object]:
    """Return what a card must hold so that :func:`assemble` can build the backbone again around its network."""
    return {"preprocessing": preprocessing.as_dict(), "pooling": pooling, "layout": layout}


def assemble(
    card: ModelCard, network: nn.Module, *, labels: tuple[str, ...] = (), keep_head: bool = False
) -> PretrainedModel:
    """Take a network apart into backbone and head, and complete its card.

    Args:
        card: With the clips' shape, and the facts of :func:`network_facts`.
        network: The whole network; it is changed. On the meta device only the card that comes out is of use.
        labels: Class names of its head.
        keep_head: Whether its head knows something.

    Returns:
        The model, in evaluation mode.

    Raises:
        PretrainedModelError: The network does not take such clips, or gives no finite features.
    """
    preprocessing, pooling, layout = read_facts(card)
    backbone, head = _take_apart(network.eval(), card.shape, preprocessing, pooling, layout, card.name)
    zero_shot = zero_shot_head(head, backbone, labels) if keep_head and head is not None else None
    completed = replace(
        card,
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        feature_dim=backbone.feature_dim,
        labels=zero_shot.labels if zero_shot else () if keep_head else card.labels,
    )
    return PretrainedModel(completed, backbone, zero_shot)


def describe_network(build: Callable[[], nn.Module], finish: Callable[[nn.Module], PretrainedModel]) -> ModelCard:
    """Return the card of a network that is built from shapes alone, if it can be: no weights are made or read.

    Args:
        build: Builds the network.
        finish: Makes a model of it, as by :func:`assemble`.
    """
    try:
        with torch.device("meta"):
            network = build()
        return finish(network).card
    except PretrainedModelError:  # a network that computes with numbers while it is built
        return finish(build()).card


def digest_weights(network: nn.Module, source: str) -> str:
    """Return a BLAKE2b digest of a network's weights, where there is no one file of them.

    Raises:
        PretrainedModelError: Some are not finite numbers.
    """
    tensors = check_finite(network.state_dict(), source)
    return digest_bytes(
        *(part for name, value in tensors.items() for part in (name.encode(), value.contiguous().numpy().tobytes()))
    )


def read_facts(card: ModelCard) -> tuple[Preprocessing, str | None, str]:
    """Return preprocessing, pooling and layout that a card holds.

    Raises:
        PretrainedModelError: It lacks them.
    """
    missing = [key for key in ("preprocessing", "pooling", "layout") if key not in card.facts]
    if missing:
        raise PretrainedModelError(
            f"the card of {card.name} lacks {', '.join(missing)}", source=card.name, remedy="load the model again"
        )
    return Preprocessing.from_dict(card.facts["preprocessing"]), card.facts["pooling"], str(card.facts["layout"])


def _take_apart(
    network: nn.Module, shape: ClipShape, preprocessing: Preprocessing, pooling: str | None, layout: str, source: str
) -> tuple[PixelBackbone, Head | None]:
    device = next((parameter.device.type for parameter in network.parameters()), "cpu")
    clips = probe_clips(shape, device)
    mean, std = (torch.tensor(values, device=device) for values in (preprocessing.mean, preprocessing.std))
    pixels = normalize(clips if pooling is None else clips[0, :1], preprocessing, mean, std, layout)
    outputs: list[object] = []
    frames = f"{shape.frames} frames" if pooling is None else "frames"
    with (
        explained(
            f"this network does not take {frames} of {shape.height} x {shape.width} x {shape.channels}",
            source,
            "set the options frames, height, width (and channels) to what it was made for",
        ),
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
        watch_linears(network, None) as seen,
    ):
        names = find_blocks(network, lambda: outputs.append(network(pixels)), _LISTS)
        if len(names) == 1:  # a network without lists of layers: its own parts are its blocks
            names = find_blocks(network, lambda: network(pixels), (*_LISTS, type(network)))
    sample = _sample(outputs[0], source)
    head = find_head(network, seen, sample)
    if head is not None and head.name:
        features = seen[head.name][0]
        network.set_submodule(head.name, nn.Identity())
        names = [name for name in names if block_modules(network, [name])]
    else:
        head, features = None, read_features(sample, "output")
    if device != "meta" and not torch.isfinite(features).all():
        remedy = "its weights are damaged: copy them again"
        raise PretrainedModelError("this network's features are not finite numbers", source=source, remedy=remedy)
    backbone = PixelBackbone(
        network,
        shape,
        preprocessing,
        pooling=pooling,
        features="output",
        network_dim=int(features.shape[-1]),
        block_names=names,
        layout=layout,
    )
    return backbone.eval(), head


def _sample(output: object, source: str) -> Tensor:
    found = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(found, Tensor) or found.dim() < 2 or not found.is_floating_point():
        raise PretrainedModelError(
            f"this network gives {type(output).__name__}, not a tensor of numbers for each picture",
            source=source,
            remedy="let it return logits or features, [batch, width]",
        )
    return found
