"""A body of the Transformers library that reads a policy's tokens: ``transformers:NAME-OR-FOLDER``.

Any encoder (BERT and its kin) or decoder (GPT-2 and its kin) of text will do. A game's token ids mean nothing to a
network that learned the ids of its own tokenizer, so by default they get an embedding of their own, drawn with the mean
and spread of the one it takes the place of; ``vocabulary: own`` keeps the body's, for games that speak it. The body
stays in evaluation mode: dropout would make a policy answer differently when it learns than when it plays. Weights come
from safetensors only, and no code from a checkpoint is ever run.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.checkpoint_folder import find_checkpoint
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_backbone import build_with_backbone, choose_part
from newgameplus.pretrained.policy_encoders import Encoder
from newgameplus.pretrained.policy_request import PolicyRequest, seeded
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ObservationPart

__all__ = ["TransformersEncoder", "build_encoder", "load"]

_POOLINGS = ("mean", "first", "last")
_VOCABULARIES = ("new", "own")


class TransformersEncoder(Encoder):
    """Tokens through a Transformers body; 0 is padding.

    Args:
        tokens: Embedding of the game's tokens, of the width that the body takes.
        body: The body, without its own embedding of tokens.
        width: Of its hidden state.
        pooling: ``mean`` over the tokens that are there, the ``first``, or the ``last`` of them.
    """

    orthogonal = False

    def __init__(self, tokens: nn.Embedding, body: nn.Module, width: int, pooling: str) -> None:
        super().__init__()
        self.tokens = tokens
        self.body = body
        self.pooling = pooling
        self.width = width

    def train(self, mode: bool = True) -> TransformersEncoder:
        """Set the mode of everything but the body, which stays in evaluation mode."""
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, values: Tensor) -> Tensor:
        """Turn integers [batch, length] into float32 [batch, width]."""
        numbers = values.long()
        there = numbers != 0
        there = there | ~there.any(dim=1, keepdim=True)  # a row of nothing but padding must not become NaN
        answer = self.body(inputs_embeds=self.tokens(numbers), attention_mask=there.long())
        hidden: Tensor = answer.last_hidden_state.float()
        if self.pooling == "mean":
            kept = there.unsqueeze(-1).float()
            return (hidden * kept).sum(dim=1) / kept.sum(dim=1)
        if self.pooling == "first":
            return hidden[:, 0]
        places = torch.arange(numbers.shape[1], device=numbers.device)
        last = (there * places).argmax(dim=1)
        return hidden[torch.arange(len(hidden), device=hidden.device), last]


def build_encoder(part: ObservationPart, shape: PolicyShape) -> TransformersEncoder:
    """Build the encoder that a blueprint describes, with random weights; no folder or hub is needed."""
    facts = shape.backbone
    source = str(facts.get("source", "transformers"))
    body = _build_body(dict(facts["config"]), None, source)
    return _assemble(body, part, str(facts["vocabulary"]), str(facts["pooling"]), source)


def load(
    name: str,
    request: PolicyRequest,
    *,
    part: str | None = None,
    vocabulary: str = "new",
    pooling: str = "mean",
    revision: str | None = None,
) -> Policy:
    """Build a policy that reads through a Transformers body; everything behind it starts anew.

    Args:
        name: A folder that ``save_pretrained`` wrote, or a name on the Hugging Face Hub.
        request: The game.
        part: Which part of the observation are the tokens; None if there is only one.
        vocabulary: ``new`` gives the game's tokens an embedding of their own, ``own`` takes the body's, in which the
            game's ids must fit.
        pooling: ``mean`` over all tokens, the ``first`` (what BERT's kind puts a summary in), or the ``last`` (GPT's).
        revision: Branch, tag or commit on the hub.

    Raises:
        MissingExtraError: Transformers is not installed.
        PretrainedModelError: The checkpoint is missing, damaged, pickled or no body of text, or does not fit the game.
    """
    for key, value, known in (("vocabulary", vocabulary, _VOCABULARIES), ("pooling", pooling, _POOLINGS)):
        if value not in known:
            remedy = did_you_mean(str(value), known)
            raise PretrainedModelError(f"{key} is {value!r}", source="model.options", remedy=remedy)
    full = f"transformers:{name}"
    found, _, _ = choose_part("tokens", part, request, full)
    folder = find_checkpoint(name, revision=revision)
    config: dict[str, Any] = json.loads(json.dumps(dict(folder.config)))
    body = _build_body(config, folder, full)
    with seeded(request.seed):
        encoder = _assemble(body, found, vocabulary, pooling, full)
    backbone = {
        "kind": "transformers",
        "part": found.name,
        "config": config,
        "vocabulary": vocabulary,
        "pooling": pooling,
        "source": full,
    }
    facts = {"license": folder.license, "backbone_digest": folder.digest, "revision": folder.revision}
    return build_with_backbone(full, request, backbone, {"tokens": encoder.tokens, "body": encoder.body}, facts)


def _build_body(content: Mapping[str, Any], folder: Any, source: str) -> nn.Module:
    """Build a text body from its configuration, with the folder's weights if there is one."""
    from newgameplus.pretrained.transformers_blueprint import Blueprint, import_transformers, read_config
    from newgameplus.pretrained.transformers_network import build_network

    library = import_transformers()
    config = read_config(library, content, source)
    mapping = library.models.auto.modeling_auto.MODEL_MAPPING
    network_class = mapping.get(type(config), None)
    if isinstance(network_class, list | tuple):
        network_class = network_class[0]
    reads = getattr(network_class, "main_input_name", "") == "input_ids"
    if network_class is None or not reads or getattr(config, "is_encoder_decoder", False):
        raise PretrainedModelError(
            f"{config.model_type!r} is no body that reads tokens alone",
            source=source,
            remedy="choose an encoder or decoder of text (BERT, RoBERTa, DistilBERT, GPT-2, Llama ...)",
        )
    config.use_cache = False  # every step is read anew
    arguments = frozenset(inspect.signature(network_class.__init__).parameters)
    blueprint = Blueprint(config, network_class, False, False, 1, False, None, None, (), arguments)
    network, _ = build_network(blueprint, folder, source=source)
    return network


def _assemble(
    body: nn.Module, part: ObservationPart, vocabulary: str, pooling: str, source: str
) -> TransformersEncoder:
    """Give the body an embedding of the game's tokens, and see that it takes as many of them as the game shows."""
    from newgameplus.pretrained.transformers_blueprint import explained

    own: nn.Embedding = body.get_input_embeddings()  # type: ignore[operator]
    known, width = own.weight.shape
    needed, length = part.sizes[0], part.shape[0]
    if vocabulary == "own":
        if needed > known:
            raise PretrainedModelError(
                f"{part.name!r} has {needed} different tokens, and this body knows {known}",
                source=source,
                remedy="take options: {vocabulary: new}",
            )
        tokens = own
    else:
        tokens = nn.Embedding(needed, width)
        with torch.no_grad():
            spread, mean = torch.std_mean(own.weight.float(), dim=0)
            tokens.weight.copy_(mean + spread * torch.randn(needed, width))
    body.set_input_embeddings(nn.Identity())  # type: ignore[operator]  # its own is kept in ``tokens``, or not at all
    remedy = f"show fewer tokens at once than {length}, or choose another body"
    with explained(f"this {type(body).__name__} does not take {length} tokens", source, remedy), torch.no_grad():
        probe = TransformersEncoder(tokens, body, 0, pooling).eval()
        sample = probe(torch.ones(1, length, dtype=torch.long))
    if not torch.isfinite(sample).all():
        remedy = "its weights are damaged: copy them again"
        raise PretrainedModelError("this body's features are not finite numbers", source=source, remedy=remedy)
    probe.width = int(sample.shape[-1])
    return probe
