"""Freezing that really freezes: no gradients, no optimizer, no drifting normalization statistics, no dropout."""

from __future__ import annotations

from typing import Any

from torch import nn

from newgameplus.adapt.adapters import adapter_parameters, is_adapter
from newgameplus.adapt.classifier import ClipClassifier
from newgameplus.adapt.phases import Phase
from newgameplus.errors import PretrainedModelError

__all__ = ["apply_phase", "parameter_groups", "trainable_parameters", "training_mode"]


def apply_phase(classifier: ClipClassifier, phase: Phase) -> None:
    """Let exactly the weights of the phase require gradients; its adapters must be there already."""
    for block, rate in _blocks(classifier, phase):
        for name, parameter in block.named_parameters():
            parameter.requires_grad_(rate > 0 and (not phase.adapter_rank or is_adapter(name)))
    classifier.head.requires_grad_(phase.head_rate > 0)


def training_mode(classifier: ClipClassifier, phase: Phase) -> None:
    """Put moving parts in training mode and frozen parts in evaluation mode; needed before every stretch of steps.

    ``requires_grad_(False)`` alone leaves BatchNorm statistics and dropout running. Beside adapters the backbone stands
    still, so its statistics must too.
    """
    classifier.train()
    if phase.frozen_backbone or phase.adapter_rank:
        classifier.backbone.eval()
    for block, rate in _blocks(classifier, phase):
        if rate == 0:
            block.eval()


def parameter_groups(
    classifier: ClipClassifier, phase: Phase, *, backbone_rate: float, head_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return optimizer groups, one a block and kind: layer-wise rates, and decay on matrices only.

    Args:
        classifier: The network.
        phase: What moves, at which multiples.
        backbone_rate: Learning rate of a block whose multiple is 1.
        head_rate: Learning rate of the head.
        weight_decay: Decay of tensors with two or more dimensions; biases and normalization get none, and a backbone
            that is pulled to its pretrained weights gets none beside the pull.
    """
    groups: list[dict[str, Any]] = []
    decay_of_blocks = 0.0 if phase.pull else weight_decay
    parts: list[tuple[nn.Module, float, float]] = [
        (block, backbone_rate * rate, decay_of_blocks) for block, rate in _blocks(classifier, phase) if rate > 0
    ]
    if phase.head_rate > 0:
        parts.append((classifier.head, head_rate * phase.head_rate, weight_decay))
    for module, rate, matrix_decay in parts:
        adapted = [parameter for name, parameter in module.named_parameters() if is_adapter(name)]
        parameters = adapted or list(module.parameters())
        for decay, chosen in (
            (matrix_decay, [p for p in parameters if p.ndim >= 2]),
            (0.0, [p for p in parameters if p.ndim < 2]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return groups


def trainable_parameters(classifier: ClipClassifier, phases: list[Phase]) -> int:
    """Return how many weights move in at least one of the phases; adapters count before they are there and after."""
    blocks = classifier.backbone.blocks()
    plain = [phase.block_rates for phase in phases if not phase.adapter_rank]
    moving = [block for index, block in enumerate(blocks) if any(rates[index] for rates in plain)]
    count = sum(parameter.numel() for block in moving for parameter in block.parameters())
    for phase in phases:
        if phase.adapter_rank:
            adapted = [block for block, rate in zip(blocks, phase.block_rates, strict=True) if rate > 0]
            count += adapter_parameters(classifier.backbone, adapted, phase.adapter_rank)
    return count + sum(p.numel() for p in classifier.head.parameters())


def _blocks(classifier: ClipClassifier, phase: Phase) -> list[tuple[nn.Module, float]]:
    blocks = classifier.backbone.blocks()
    if len(blocks) != len(phase.block_rates):
        message = f"the phase {phase.name!r} knows {len(phase.block_rates)} blocks, the backbone has {len(blocks)}"
        raise PretrainedModelError(message, remedy="plan the phases with the number of blocks of this backbone")
    return list(zip(blocks, phase.block_rates, strict=True))
