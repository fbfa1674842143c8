"""What a policy sees and what it may do, as plain data: the spaces of a game, whatever library describes them.

Observations are always a mapping from the name of a part to an array whose first axis counts environments (or steps):
a game whose observation is no dictionary has one part, called ``observation``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

__all__ = [
    "SINGLE",
    "ActionKind",
    "ActionSpec",
    "Actions",
    "Masks",
    "ObservationPart",
    "ObservationSpec",
    "Observations",
    "PartKind",
]

SINGLE = "observation"
"""Name of the only part of an observation that is no dictionary."""

Observations = dict[str, npt.NDArray[Any]]
"""Arrays [environments, ...] by the name of the part."""
Actions = npt.NDArray[Any]
"""int64 [n] (discrete), int64 [n, k] (multi-discrete, binary) or float32 [n, k] (continuous)."""
Masks = npt.NDArray[np.bool_]
"""bool [n, width]; True where an action may be taken."""

PartKind = Literal["vector", "image", "grid", "tokens", "choice"]
ActionKind = Literal["discrete", "multi-discrete", "binary", "continuous"]


@dataclass(frozen=True)
class ObservationPart:
    """One part of what a policy sees.

    Attributes:
        name: Key of the part; :data:`SINGLE` where the observation is no dictionary.
        kind: ``vector`` (numbers), ``image`` (intensities, channels first), ``grid`` (integer codes, channels first:
            what stands where), ``tokens`` (a sequence of integers of one vocabulary, padded with 0), ``choice``
            (integers that each choose one of a few, seen one-hot).
        shape: Shape of one observation: vector (features,); image and grid (channels, height, width); tokens
            (length,); choice (numbers,).
        dtype: As it is stored: float32, uint8 or int64.
        low: Smallest value of a vector or image; None if unknown or unbounded.
        high: Largest value of a vector or image (255 for pixels); None if unknown or unbounded.
        sizes: grid: codes of each channel; tokens: (vocabulary,); choice: how many each number chooses from.
        features: Names of a vector's features, a picture's channels or a choice's numbers; empty if they have none.
    """

    name: str
    kind: PartKind
    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None
    sizes: tuple[int, ...] = ()
    features: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Numbers that a network sees at once: features, channels (one-hot for codes), or one-hot choices."""
        if self.kind in ("grid", "choice"):
            return sum(self.sizes)
        return self.sizes[0] if self.kind == "tokens" else self.shape[0]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        content = asdict(self)
        return content | {key: list(content[key]) for key in ("shape", "sizes", "features")}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ObservationPart:
        """Read back what :meth:`as_dict` gave."""
        tuples = {key: tuple(content[key]) for key in ("shape", "sizes", "features")}
        return cls(**{**content, **tuples})


@dataclass(frozen=True)
class ObservationSpec:
    """All that a policy sees.

    Attributes:
        parts: In the order in which a network takes them.
    """

    parts: tuple[ObservationPart, ...]

    def part(self, name: str) -> ObservationPart | None:
        """Return a part by name, or None."""
        return next((part for part in self.parts if part.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        return tuple(part.name for part in self.parts)

    def empty(self, count: int) -> Observations:
        """Return zeros for ``count`` environments."""
        return {part.name: np.zeros((count, *part.shape), part.dtype) for part in self.parts}

    def as_dict(self) -> list[dict[str, Any]]:
        """Return plain data."""
        return [part.as_dict() for part in self.parts]

    @classmethod
    def from_dict(cls, content: Any) -> ObservationSpec:
        """Read back what :meth:`as_dict` gave."""
        return cls(tuple(ObservationPart.from_dict(part) for part in content))


@dataclass(frozen=True)
class ActionSpec:
    """What a policy may do.

    Attributes:
        kind: ``discrete`` (one of n), ``multi-discrete`` (one of each of several), ``binary`` (any of n buttons),
            ``continuous`` (n numbers).
        sizes: discrete: (n,); multi-discrete: number of choices of each; binary: (buttons,); continuous: (numbers,).
        low: Smallest allowed numbers, for continuous actions.
        high: Largest allowed numbers, for continuous actions.
        names: Names of the actions (discrete), buttons (binary) or numbers (continuous); empty if they have none.
    """

    kind: ActionKind
    sizes: tuple[int, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Numbers that a network answers with: logits, or means of continuous actions."""
        return sum(self.sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one action as an array: () for a discrete one."""
        if self.kind == "discrete":
            return ()
        return (len(self.sizes),) if self.kind == "multi-discrete" else (self.sizes[0],)

    @property
    def dtype(self) -> str:
        """Type of the numbers of an action: int64, or float32 if continuous."""
        return "float32" if self.kind == "continuous" else "int64"

    def empty(self, count: int) -> Actions:
        """Return zeros for ``count`` environments."""
        return np.zeros((count, *self.shape), self.dtype)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ActionSpec:
        """Read back what :meth:`as_dict` gave."""
        tuples = {key: tuple(content[key]) for key in ("sizes", "low", "high", "names")}
        return cls(cast("ActionKind", content["kind"]), **tuples)
