"""The section ``pretrain`` of a recipe: how a model goes on learning from recordings or maps without labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from newgameplus.recipe_schema import Count, Names, PathMark, Positive, Rate, Strict

__all__ = ["PretrainSettings", "ScenePretrainSettings"]


class PretrainSettings(Strict):
    """What ``ngp pretrain`` does; a fit does not look at it."""

    path: Annotated[str | None, PathMark()] = None
    """Recordings without labels: a video, a file of numbers, or a folder of either; null takes those of ``data.path``
    of which nothing is tested or validated on."""
    objectives: Literal["auto"] | Names = "auto"
    """What to learn: ``temporal-order``, ``two-views``, ``inverse-dynamics``; ``auto`` takes ``inverse-dynamics`` alone
    where recordings say which actions were held, else what the model can have of the other two. From sequences of
    numbers: ``masked-steps``."""
    steps: Count = 1000
    """Steps."""
    minutes: Positive | None = None
    """Longest time to train; lowers ``steps`` to what fits, as the first few tell."""
    batch_size: Annotated[int, Field(ge=2, le=10**6, strict=True)] = 32
    """Clips, or sequences, per step."""
    learning_rate: Rate | Literal["auto"] = "auto"
    """Highest rate; ``auto`` is 0.0003 for ``inverse-dynamics`` alone, and 0.00003 where other objectives, which pull
    features away from what the model knows, are learned (docs/benchmarks/continued_pretraining.md); for sequences of
    numbers 0.001."""
    hop: Positive | None = None
    """Seconds from the start of one clip or sequence to the next; null puts clip behind clip."""


class ScenePretrainSettings(Strict):
    """What ``ngp pretrain`` does; a fit does not look at it."""

    path: Annotated[str | None, PathMark()] = None
    """Maps of the same tiles, which need not be playable; null takes those of ``data.path`` that are neither tested nor
    validated on."""
    steps: Count = 600
    """Steps."""
    minutes: Positive | None = None
    """Longest time to train; lowers ``steps`` to what fits, as the first few tell."""
    batch_size: Count = 8
    """Windows of maps per step."""
    learning_rate: Rate = 0.001
    """Highest rate."""
