"""Text networks of the Transformers library as bodies for numbers over time: BERT, GPT-2 and their kin.

A new linear layer projects the channels of each step (and the mask) to where token embeddings stood; the layers above
keep their pretrained weights (Lu et al. 2021, arXiv 2103.05247, found that such layers carry over to other kinds of
sequences). The table of token embeddings is left out. An encoder's states are averaged over the steps; of a causal
network the state of the last step counts, which alone has seen them all.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.checkpoint_folder import CheckpointFolder
from newgameplus.pretrained.sequence_backbone import SequenceBackbone, SequenceBody, check_sizes, last_of, mean_of
from newgameplus.pretrained.transformers_blueprint import Blueprint, explained, import_transformers, quiet, read_config
from newgameplus.pretrained.transformers_network import build_network
from newgameplus.shapes import SequenceShape

__all__ = ["is_text_config", "load_text", "rebuild_text"]

#: Spread of token embeddings where a network says nothing; what BERT and GPT-2 begin with.
_USUAL_SPREAD = 0.02


def is_text_config(content: Mapping[str, Any]) -> bool:
    """Whether a configuration describes a network that reads tokens one after another."""
    library = import_transformers()
    kind = (
        library.CONFIG_MAPPING[content["model_type"]] if content.get("model_type") in library.CONFIG_MAPPING else None
    )
    return kind is not None and any(kind in mapping for mapping in _mappings(library))


def _mappings(library: Any) -> tuple[Any, Any]:
    auto = library.models.auto.modeling_auto
    return auto.MODEL_FOR_MASKED_LM_MAPPING, auto.MODEL_FOR_CAUSAL_LM_MAPPING


def load_text(
    name: str,
    folder: CheckpointFolder,
    *,
    fresh: bool = False,
    steps: int | None = None,
    channels: int | None = None,
    weights: bool = True,
) -> PretrainedModel:
    """Load a text network as a backbone for sequences.

    Args:
        name: Folder or hub name.
        folder: The checkpoint.
        fresh: Random weights in the same architecture.
        steps: Steps that sequences are brought to; 64 by default, or as many as the network has positions for.
        channels: Numbers at each step; the scenario sets it to what the data have.
        weights: Whether to read the weights; without them only the card is of use.

    Raises:
        MissingExtraError: Transformers is not installed.
        PretrainedModelError: The checkpoint is missing, damaged, incomplete, or does not take such sequences.
    """
    content = dict(folder.config)
    shape = check_sizes(steps, channels)
    most = _positions(content)
    if most is not None and shape.steps > most:
        if steps is not None:
            message = f"{steps} steps are more than this network has positions for ({most})"
            raise PretrainedModelError(message, source=name, remedy=f"set model.options: steps to at most {most}")
        shape = replace(shape, steps=most)
    card = ModelCard(
        name=f"transformers:{name}",
        family=str(content.get("model_type")),
        modality="sequence",
        parameters=0,
        feature_dim=0,
        shape=shape,
        license=folder.license,
        digest=folder.digest if weights and not fresh else "",
        description=f"{content.get('model_type')} from {name}, its tokens replaced by projected channels",
        facts={"config": content, "revision": folder.revision},
    )
    return _assemble(card, folder if weights and not fresh else None, source=str(folder.path))


def rebuild_text(card: ModelCard) -> PretrainedModel:
    """Build the network of a card, with random weights; no folder or hub is needed."""
    return PretrainedModel(card, _assemble(card, None, source=card.name).backbone)


def _positions(content: Mapping[str, Any]) -> int | None:
    for key in ("max_position_embeddings", "n_positions"):
        if isinstance(content.get(key), int) and content[key] > 0:
            # RoBERTa and its kin number positions from behind the padding token on.
            offset = 2 if str(content.get("model_type")) in ("roberta", "camembert", "xlm-roberta") else 0
            return int(content[key]) - offset
    return None


def _assemble(card: ModelCard, folder: CheckpointFolder | None, *, source: str) -> PretrainedModel:
    library = import_transformers()
    config = read_config(library, card.facts["config"], source)
    if getattr(config, "is_encoder_decoder", False):
        remedy = "choose an encoder (such as BERT) or a decoder (such as GPT-2)"
        raise PretrainedModelError("this network has an encoder and a decoder", source=source, remedy=remedy)
    masked, causal = _mappings(library)
    if type(config) not in masked and type(config) not in causal:
        remedy = "choose a text network such as BERT or GPT-2"
        raise PretrainedModelError(f"{card.family} reads no sequences", source=source, remedy=remedy)
    reads_back = type(config) in masked and not getattr(config, "is_decoder", False)
    network_class = library.models.auto.modeling_auto.MODEL_MAPPING[type(config)]
    network, unused = build_network(_blueprint(config, network_class), folder, source=source)
    with explained(f"this {network_class.__name__} cannot read numbers", source, "choose another network"), quiet():
        body = _TextBody(network, card.shape, average=reads_back)
        backbone = SequenceBackbone(card.shape, body, scale=body.spread).eval()
    facts = card.facts | {"pooling": "mean" if reads_back else "last"} | ({"unused_weights": unused} if unused else {})
    count = sum(parameter.numel() for parameter in backbone.parameters())
    completed = replace(card, parameters=count, feature_dim=backbone.feature_dim, facts=facts)
    return PretrainedModel(completed, backbone)


def _blueprint(config: Any, network_class: Any) -> Blueprint:
    arguments = {
        *inspect.signature(network_class.__init__).parameters,
        *inspect.signature(network_class.forward).parameters,
    }
    return Blueprint(
        config=config, network_class=network_class, classifier=False, video=False, channels=0, pooler=False,
        image_size=None, frames=None, labels=(), arguments=frozenset(arguments),
    )  # fmt: skip


class _TextBody(SequenceBody):
    """A text network that is given vectors in place of tokens."""

    def __init__(self, network: nn.Module, shape: SequenceShape, *, average: bool) -> None:
        super().__init__()
        tokens: Any = network.get_input_embeddings()  # type: ignore[operator]
        self.input_dim = int(tokens.embedding_dim)
        spread = float(tokens.weight.detach().float().std())
        self.spread = spread if 0.0 < spread < 10.0 else _USUAL_SPREAD
        network.set_input_embeddings(nn.Identity())  # type: ignore[operator]
        self.network, self._pool = network, mean_of if average else last_of
        # Without it some families keep the states of all steps for a next token that never comes.
        network.config.use_cache = False  # type: ignore[union-attr]
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            states = self._states(torch.zeros(1, shape.steps, self.input_dim), torch.ones(1, shape.steps))
        self.feature_dim = int(states.shape[-1])

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        return self._pool(self._states(steps, mask), mask)

    def _states(self, steps: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self.network(inputs_embeds=steps, attention_mask=mask).last_hidden_state
        return states
