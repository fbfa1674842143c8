"""A paragraph of advice about the size of the model and the strategy, each with the number that it rests on.

The rules of thumb are few: with few labels a head on frozen features, or the head first, keeps what pretraining knows
(Kumar et al. 2022, arXiv 2202.10054); the nearer the user's task is to the pretraining, the less has to move; a larger
model is worth its cost where it measured better, and only there. They are rules of thumb, so the text says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from newgameplus.choose.candidates import Candidate, Choice

__all__ = ["Task", "advise", "similarity"]

#: Labels of a class under which a whole network learns them by heart, and above which it has enough to learn from.
_FEW, _MANY = 10, 100
#: How near neighbours come to naming everything (0 is guessing) where frozen features do, and where they are foreign.
_NEAR, _FAR = 0.8, 0.3
_MANY_CLASSES = 12
#: Candidates this close in their short runs are told apart by their cost.
_CLOSE = 0.01


@dataclass(frozen=True)
class Task:
    """What is known of the user's task from its training clips.

    Attributes:
        counts: Labelled training clips of each class.
        groups: Number of training groups.
    """

    counts: Sequence[int]
    groups: int

    @property
    def majority(self) -> float:
        """Accuracy of always answering the most frequent class."""
        return max(self.counts) / sum(self.counts)

    @property
    def classes(self) -> int:
        """Number of classes with a training clip."""
        return sum(count > 0 for count in self.counts)

    @property
    def rarest(self) -> int:
        """Clips of the rarest class that has any."""
        return min(count for count in self.counts if count)


def similarity(knn: float, majority: float) -> float:
    """Return how near a task is to what features tell apart: 0 as good as guessing, 1 all neighbours agree."""
    return max(0.0, (knn - majority) / (1.0 - majority)) if majority < 1.0 else 0.0


def advise(choice: Choice, task: Task) -> str:
    """Return one paragraph about size and strategy for the chosen model.

    Args:
        choice: The choice; its candidates' scores and short runs are quoted.
        task: The user's task.
    """
    near = similarity(choice.chosen.scores.get("knn", 0.0), task.majority)
    sentences = [_labels(task), _nearness(choice.chosen, task, near), _strategy(task, near), _size(choice)]
    if task.groups < 4:
        sentences.append(f"All of this rests on {task.groups} training groups, which is little: record more of them.")
    return " ".join(sentence for sentence in sentences if sentence) + " These are rules of thumb; the fit decides."


def _labels(task: Task) -> str:
    total = sum(task.counts)
    amount = "few" if task.rarest < _FEW else "many" if task.rarest >= _MANY else "some"
    classes = f"{task.classes} classes" + (", which is a lot" if task.classes >= _MANY_CLASSES else "")
    return f"There are {total:,} labelled training clips of {classes}; the rarest class has {task.rarest} ({amount})."


def _nearness(chosen: Candidate, task: Task, near: float) -> str:
    if "knn" not in chosen.scores:
        return ""
    word = "near to" if near >= _NEAR else "far from" if near < _FAR else "some way from"
    return (
        f"Neighbours among the frozen features name {chosen.scores['knn']:.0%} rightly, always guessing the most "
        f"frequent class {task.majority:.0%}: the task is {word} what the model was pretrained for."
    )


def _strategy(task: Task, near: float) -> str:
    if near >= _NEAR and task.rarest < _FEW:
        return "So strategy probe or lp-ft: the features serve as they are, and few labels would only disturb them."
    if task.rarest < _FEW:
        return "So strategy lp-ft or lora: the features must change, but so few labels can steer little; label more."
    if near < _FAR and task.rarest >= _MANY:
        return "So strategy full or lp-ft: the features must change much, and the labels suffice for it."
    return "So strategy lp-ft: first the head, so that a raw one spoils no features, then everything."


def _size(choice: Choice) -> str:
    chosen = choice.chosen
    rivals = [one for one in choice.candidates if one.name != chosen.name]
    if not rivals:
        return f"There is one candidate, of {_weights(chosen)}; name others to know whether another size pays."
    run = chosen.short_run
    if run is None:
        return f"Of {len(rivals) + 1} candidates it has {_weights(chosen)}; estimates alone speak for that size."
    close = [one for one in rivals if one.short_run is not None and run.value - one.short_run.value < _CLOSE]
    if smaller := [one for one in close if one.parameters < chosen.parameters]:
        least = min(smaller, key=lambda one: one.parameters)
        return (
            f"{least.name} came within {_CLOSE * 100:.0f} point of it with {_weights(least)} instead of "
            f"{_weights(chosen)}{_cheaper(least, chosen)}: take it if speed matters."
        )
    larger = [one for one in rivals if one.parameters > chosen.parameters and one.short_run is not None]
    if larger:
        return f"{_weights(chosen)} suffice: larger candidates did no better in the same steps."
    return f"Its {_weights(chosen)} paid: no smaller candidate that was tried came near in the same steps."


def _weights(candidate: Candidate) -> str:
    millions = candidate.parameters / 1e6
    return f"{millions:.1f} million weights" if millions >= 0.1 else f"{candidate.parameters:,} weights"


def _cheaper(one: Candidate, other: Candidate) -> str:
    if one.cost is None or other.cost is None or one.cost.latency_seconds >= other.cost.latency_seconds:
        return ""
    return f" ({one.cost.latency_seconds * 1000:.1f} ms an answer against {other.cost.latency_seconds * 1000:.1f} ms)"
