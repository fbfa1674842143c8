"""Every error that New Game+ raises on purpose, under one root.

Each names the offending value, where it came from and the remedy, so that the message alone is enough to mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "CacheError",
    "DataError",
    "DivergedError",
    "ExportError",
    "GameError",
    "MissingExtraError",
    "NewGamePlusError",
    "PretrainedModelError",
    "Problem",
    "RecipeError",
    "RecorderError",
    "RunError",
    "SplitLeakError",
    "StorageError",
    "SurgeryError",
    "TrainingError",
    "raise_problems",
]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in words a user can act on.

    Attributes:
        message: What is wrong, with the offending value in it.
        source: Where it came from: a file, ``file:line``, or a recipe key. Empty if nowhere in particular.
        remedy: What to do about it. Empty if the message says it already.
    """

    message: str
    source: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source else ""
        remedy = f"\n    remedy: {self.remedy}" if self.remedy else ""
        return f"{where}{self.message}{remedy}"


class NewGamePlusError(Exception):
    """Root of all errors raised on purpose; the command line prints it without a traceback.

    Args:
        message: What is wrong, with the offending value in it.
        source: Where the value came from (file, ``file:line``, recipe key).
        remedy: What to do about it.
        problems: When several things are wrong at once, all of them; the message is then their summary.
    """

    def __init__(self, message: str, *, source: str = "", remedy: str = "", problems: Sequence[Problem] = ()) -> None:
        self.message = message
        self.source = source
        self.remedy = remedy
        self.problems = tuple(problems) or (Problem(message, source, remedy),)
        super().__init__(message)

    def __str__(self) -> str:
        if len(self.problems) == 1 and self.problems[0].message == self.message:
            return str(self.problems[0])
        head = str(Problem(self.message, self.source, self.remedy))
        return "\n".join([head, *(f"  - {problem}" for problem in self.problems)])

    def as_dict(self) -> dict[str, object]:
        """Return the error as plain data for ``--json``."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "source": self.source,
            "remedy": self.remedy,
            "problems": [{"message": p.message, "source": p.source, "remedy": p.remedy} for p in self.problems],
        }


class RecipeError(NewGamePlusError):
    """A recipe says something that cannot be done."""


class DataError(NewGamePlusError):
    """The user's data (videos, labels, trajectories) cannot be used as they are."""


class SplitLeakError(DataError):
    """The same group, or the same frames, stand on both sides of a split."""


class CacheError(NewGamePlusError):
    """The frame cache cannot be built or read."""


class StorageError(NewGamePlusError):
    """A file cannot be written: no space, no permission, or a read-only place."""


class RunError(NewGamePlusError):
    """A run folder is missing, damaged, or would be overwritten."""


class PretrainedModelError(NewGamePlusError):
    """A pretrained model does not exist, does not fit, or cannot be loaded safely."""


class SurgeryError(NewGamePlusError):
    """A model cannot be operated on as asked, or would not be the same afterwards."""


class TrainingError(NewGamePlusError):
    """Training cannot go on."""


class DivergedError(TrainingError):
    """A loss or a gradient is no longer a finite number."""


class GameError(NewGamePlusError):
    """A game (an environment) cannot be started, breaks its promises, or fails in the middle."""


class RecorderError(NewGamePlusError):
    """A game engine cannot be started or recorded."""


class ExportError(NewGamePlusError):
    """A model cannot leave in a format, or would not be the same model there."""


class MissingExtraError(NewGamePlusError):
    """An optional dependency is not installed, or its install is broken.

    Args:
        package: The package that could not be imported.
        extra: The extra of ``newgameplus`` that brings it.
        why: What the import said, if it was more than "not installed".
    """

    def __init__(self, package: str, extra: str, why: str = "") -> None:
        self.package = package
        self.extra = extra
        reason = f"{package} cannot be imported ({why})" if why else f"{package} is not installed"
        super().__init__(reason, source=f"extra {extra!r}", remedy=f'pip install "newgameplus[{extra}]"')


def raise_problems(problems: Sequence[Problem], error: type[NewGamePlusError], summary: str) -> None:
    """Raise ``error`` with all ``problems`` at once; do nothing when there are none."""
    if not problems:
        return
    if len(problems) == 1:
        only = problems[0]
        raise error(only.message, source=only.source, remedy=only.remedy)
    raise error(summary, problems=problems)
