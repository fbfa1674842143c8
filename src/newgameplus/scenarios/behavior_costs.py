"""What fitting clips costs on this machine: one step measured, the rest counted from the recipe."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from newgameplus.adapt import ClipClassifier, trainable_parameters
from newgameplus.choose import Cost
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.recipe import Recipe
from newgameplus.scenarios.behavior_training import recipe_phases
from newgameplus.shapes import SequenceShape
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.loop import phase_epochs

__all__ = ["candidate_cost", "plan_costs"]

#: Clips in the step that is timed for a candidate; a whole batch of a large network would take minutes.
_TIMED_CLIPS = 8
_ANSWERS = 5
#: Bytes for each weight: itself, its gradient, two moments of Adam.
_BYTES_PER_WEIGHT = 16
_BYTES_PER_INPUT = 5


def plan_costs(
    recipe: Recipe, start: PretrainedModel, labels: Sequence[str], split: Mapping[str, int]
) -> dict[str, Any]:
    """Return what a fit with all its baselines will do and cost, as plain data.

    Args:
        recipe: The recipe.
        start: The model to start from.
        labels: Class names.
        split: Number of clips in ``train``, ``validation`` and ``test``.
    """
    settings, shape = recipe.train, start.card.shape
    classifier = ClipClassifier(start.backbone, tuple(labels))
    phases = recipe_phases(recipe.adapt, len(start.backbone.blocks()))
    epochs = phase_epochs(phases, max(1, split["train"]), settings)
    batches = -(-split["train"] // settings.batch_size)
    with using_threads(threads_for(classifier, settings)):
        forward, both, saved = _time_step(classifier, settings.batch_size)
    clips = sum(split.values())
    moving = sum(count for phase, count in zip(phases, epochs, strict=True) if not phase.frozen_backbone) * batches
    scratch = sum(epochs) * batches if "scratch" in recipe.evaluate.baselines else 0
    weights = sum(parameter.numel() for parameter in classifier.parameters())
    evaluated = split["validation"] * (sum(epochs) * (2 if scratch else 1)) + 3 * clips
    seconds = (moving + scratch) * both + evaluated / settings.batch_size * forward
    seconds += (batches * (sum(epochs) * 2) + 200) * 0.002
    return {
        "model": start.card.name,
        "strategy": recipe.adapt.strategy,
        "steps": sum(epochs) * batches,
        "epochs": dict(zip([phase.name for phase in phases], epochs, strict=True)),
        "parameters": weights,
        "trainable_parameters": trainable_parameters(classifier, list(phases)),
        "estimated_seconds": round(seconds, 1),
        "estimated_memory_bytes": int(
            weights * _BYTES_PER_WEIGHT + saved + settings.batch_size * shape.bytes_per_clip * _BYTES_PER_INPUT
        ),
        "cache_bytes": clips * shape.bytes_per_clip,
        "cache_folder_note": "frames are decoded once; set NGP_CACHE to keep them elsewhere",
    }


def candidate_cost(recipe: Recipe, start: PretrainedModel, labels: Sequence[str], train: int) -> Cost:
    """Measure one answer and one step of a candidate, and estimate what fine-tuning it takes, baselines aside.

    Args:
        recipe: The recipe; its strategy and number of steps count.
        start: The candidate.
        labels: Class names.
        train: Number of training clips.
    """
    settings = recipe.train
    classifier = ClipClassifier(start.backbone, tuple(labels))
    phases = recipe_phases(recipe.adapt, len(start.backbone.blocks()))
    epochs = phase_epochs(phases, max(1, train), settings)
    batches = -(-train // settings.batch_size)
    timed = min(_TIMED_CLIPS, settings.batch_size)
    with using_threads(threads_for(classifier, settings)):
        latency = _time_answer(classifier)
        forward, both, saved = _time_step(classifier, timed)
    larger = settings.batch_size / timed
    moving = sum(count for phase, count in zip(phases, epochs, strict=True) if not phase.frozen_backbone) * batches
    seconds = moving * both * larger + train / timed * forward
    weights = trainable_parameters(classifier, list(phases)) * (_BYTES_PER_WEIGHT - 4) + start.card.parameters * 4
    inputs = settings.batch_size * start.card.shape.bytes_per_clip * _BYTES_PER_INPUT
    kept = saved * larger if moving else 0
    return Cost(round(latency, 6), round(seconds, 1), int(weights + kept + inputs))


def _noise(classifier: ClipClassifier, clips: int) -> torch.Tensor:
    generator = np.random.default_rng(0)
    shape = classifier.backbone.shape
    if isinstance(shape, SequenceShape):
        return torch.ones(clips, *shape.array)
    return torch.from_numpy(generator.integers(0, 256, (clips, *shape.array), dtype=np.uint8))


@torch.no_grad()
def _time_answer(classifier: ClipClassifier) -> float:
    """Return the median time of one answer for one clip, in seconds."""
    classifier.eval()
    clip = _noise(classifier, 1)
    times = []
    for _ in range(_ANSWERS + 1):
        began = time.perf_counter()
        classifier(clip)
        times.append(time.perf_counter() - began)
    return median(times[1:])


def _time_step(classifier: ClipClassifier, batch_size: int) -> tuple[float, float, int]:
    """Time one forward pass and one whole step on grey noise, and count the bytes kept for the backward pass."""
    clips = _noise(classifier, batch_size)
    saved = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal saved
        saved += tensor.numel() * tensor.element_size()
        return tensor

    # Batch statistics must stay those of the pretraining: a candidate is timed and then still compared.
    buffers = {name: value.detach().clone() for name, value in classifier.named_buffers()}
    classifier.train()
    times = []
    for attempt in range(2):
        began = time.monotonic()
        saved = 0
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = classifier(clips).logsumexp(dim=1).mean()
        middle = time.monotonic()
        loss.backward()
        if attempt:
            times = [middle - began, time.monotonic() - began]
    classifier.zero_grad(set_to_none=True)
    classifier.eval()
    with torch.no_grad():
        for name, value in classifier.named_buffers():
            value.copy_(buffers[name])
    return times[0], times[1], saved
