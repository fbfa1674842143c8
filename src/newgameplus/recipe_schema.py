"""What the schemas of all scenarios' recipes share: strict sections, types of values, and what a path is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Count",
    "EvaluateLevel",
    "Names",
    "PathMark",
    "Positive",
    "Rate",
    "Resamples",
    "RunName",
    "Seed",
    "Share",
    "StepSettings",
    "Strict",
    "path_mark",
]


@dataclass(frozen=True)
class PathMark:
    """Marks a field whose value is a path, relative to the recipe's own file.

    Attributes:
        or_name: The value (or a value in it, if it is a mapping) may also be a name; only what looks like a file, or
            is one, is a path; ``file.py:function`` holds one.
        suffixes: What files of an ``or_name`` field end in.
        prefixes: The value is ``source:name``, and behind these sources stands a path.
    """

    or_name: bool = False
    suffixes: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0.0, le=100.0)]
Count = Annotated[int, Field(ge=1, le=10**9, strict=True)]
Names = tuple[str, ...]
RunName = Annotated[str, Field(pattern=r"^[\w][\w.-]*$", max_length=100)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Resamples = Annotated[int, Field(ge=100, le=1_000_000)]
EvaluateLevel = Annotated[float, Field(gt=0.5, le=0.9999)]


class Strict(BaseModel):
    """A section of a recipe: no unknown keys, no changes once read; the texts below fields are their help."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)


class StepSettings(Strict):
    """How every training steps, whatever it learns from."""

    warmup: Share = 0.1
    """Share of a phase's steps in which the rate rises."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What the rate does after the warm-up."""
    gradient_clip: Positive | None = 1.0
    """Largest gradient norm; null does not clip."""
    label_smoothing: Share = 0.0
    """Share of each answer spread over all possible answers."""
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Decay of an exponential moving average of the weights that is evaluated and kept; null keeps the last weights."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the computation, through Accelerate."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""
    threads: Annotated[int, Field(ge=1, le=4096, strict=True)] | Literal["auto"] = "auto"
    """Processor threads; ``auto`` goes by the size of the model."""
    checkpoint_seconds: Positive = 60.0
    """Longest time that an interruption can cost."""


def path_mark(section: type[BaseModel], name: str) -> PathMark | None:
    """Return how a field of a section holds a path, or None if it holds none."""
    return next((mark for mark in section.model_fields[name].metadata if isinstance(mark, PathMark)), None)
