"""Whether a policy fits a game: every way in which what it sees and does differs from what the game shows and takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from newgameplus.errors import PretrainedModelError, Problem
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

__all__ = ["SpaceDifference", "SpacesDifferError", "check_spaces", "space_differences"]


@dataclass(frozen=True)
class SpaceDifference:
    """One way in which a policy does not fit a game.

    Attributes:
        side: ``observation`` or ``action``.
        part: Name of the part of the observation; empty for actions.
        what: ``missing`` (the game does not show it), ``new`` (the policy does not see it), or which attribute of the
            part or of the actions differs: ``kind``, ``shape``, ``sizes``, ``range``, ``names``.
        message: In words.
    """

    side: Literal["observation", "action"]
    part: str
    what: Literal["missing", "new", "kind", "shape", "sizes", "range", "names"]
    message: str


class SpacesDifferError(PretrainedModelError):
    """A policy was made for other spaces than the game has.

    Attributes:
        differences: Every one of them.
        shape: Blueprint of the policy, so that the caller can say which surgery would mend it.
    """

    differences: tuple[SpaceDifference, ...] = ()
    shape: PolicyShape | None = None


def space_differences(
    policy: tuple[ObservationSpec, ActionSpec], game: tuple[ObservationSpec, ActionSpec]
) -> tuple[SpaceDifference, ...]:
    """Compare a policy's spaces with a game's.

    The order of the parts, types of numbers and the range of vectors (which are normalized by what was seen) do not
    count, nor do names where one side has none.

    Args:
        policy: What the policy sees and does.
        game: What the game shows and takes.

    Returns:
        All differences; empty if the policy can play the game as it is.
    """
    found: list[SpaceDifference] = []
    for part in policy[0].parts:
        other = game[0].part(part.name)
        if other is None:
            message = f"the policy sees {part.name!r} ({describe_part(part)}), which the game does not show"
            found.append(SpaceDifference("observation", part.name, "missing", message))
        else:
            found += _compare_parts(part, other)
    for part in game[0].parts:
        if policy[0].part(part.name) is None:
            message = f"the game shows {part.name!r} ({describe_part(part)}), which the policy does not see"
            found.append(SpaceDifference("observation", part.name, "new", message))
    return (*found, *_compare_actions(policy[1], game[1]))


def check_spaces(
    name: str,
    policy: PolicyShape,
    game: tuple[ObservationSpec, ActionSpec],
    *,
    environment: str = "",
    source_key: str = "model.start",
) -> None:
    """Raise if a policy cannot play a game as it is.

    Args:
        name: Full name of the policy.
        policy: Its blueprint.
        game: What the game shows and takes.
        environment: Name of the game.
        source_key: Where the policy's name stands, for messages.

    Raises:
        SpacesDifferError: It cannot; every difference is a problem of its own, and stands in ``differences``.
    """
    differences = space_differences((policy.observations, policy.actions), game)
    if not differences:
        return
    problems = [Problem(difference.message, name) for difference in differences]
    count = "1 difference" if len(differences) == 1 else f"{len(differences)} differences"
    error = SpacesDifferError(
        f"{name!r} was made for other spaces than {environment or 'the game'} has ({count})",
        source=source_key,
        remedy="start from a policy for these spaces, or bring this one to them by surgery (ngp surgery)",
        problems=problems,
    )
    error.differences, error.shape = differences, policy
    raise error


def describe_part(part: ObservationPart) -> str:
    """Return a part's kind and shape in words, e.g. ``image 3 x 84 x 84``."""
    return f"{part.kind} {' x '.join(str(side) for side in part.shape)}"


def describe_actions(actions: ActionSpec) -> str:
    """Return the kind of actions in words, e.g. ``discrete 6``."""
    return f"{actions.kind} {', '.join(str(size) for size in actions.sizes)}"


def _compare_parts(mine: ObservationPart, other: ObservationPart) -> list[SpaceDifference]:
    name = mine.name
    if mine.kind != other.kind or mine.shape != other.shape:
        what: Literal["kind", "shape"] = "kind" if mine.kind != other.kind else "shape"
        message = f"{name!r} is {describe_part(other)} in the game and {describe_part(mine)} for the policy"
        if mine.kind == other.kind == "vector" and mine.features and other.features:
            message += _named(mine.features, other.features)
        return [SpaceDifference("observation", name, what, message)]
    found = []
    if mine.sizes != other.sizes:
        message = f"{name!r} has codes of {list(other.sizes)} in the game and of {list(mine.sizes)} for the policy"
        found.append(SpaceDifference("observation", name, "sizes", message))
    if mine.kind == "image" and mine.high != other.high:
        message = f"{name!r} goes up to {other.high} in the game and to {mine.high} for the policy"
        found.append(SpaceDifference("observation", name, "range", message))
    if mine.features and other.features and mine.features != other.features:
        message = f"{name!r} has other features or another order{_named(mine.features, other.features)}"
        found.append(SpaceDifference("observation", name, "names", message))
    return found


def _compare_actions(mine: ActionSpec, other: ActionSpec) -> list[SpaceDifference]:
    if mine.kind != other.kind or mine.sizes != other.sizes:
        what: Literal["kind", "sizes"] = "kind" if mine.kind != other.kind else "sizes"
        message = f"actions are {describe_actions(other)} in the game and {describe_actions(mine)} for the policy"
        if mine.kind == other.kind and mine.names and other.names:
            message += _named(mine.names, other.names)
        return [SpaceDifference("action", "", what, message)]
    found = []
    ranges = (mine.low, mine.high), (other.low, other.high)
    if mine.kind == "continuous" and mine.low and other.low and ranges[0] != ranges[1]:
        message = f"actions run from {list(other.low)} to {list(other.high)} in the game, "
        message += f"and from {list(mine.low)} to {list(mine.high)} for the policy"
        found.append(SpaceDifference("action", "", "range", message))
    if mine.names and other.names and mine.names != other.names:
        message = f"actions have other names or another order{_named(mine.names, other.names)}"
        found.append(SpaceDifference("action", "", "names", message))
    return found


def _named(mine: Sequence[str], other: Sequence[str]) -> str:
    """Say what is new, gone, or merely moved."""
    new = [name for name in other if name not in mine]
    gone = [name for name in mine if name not in other]
    said = [f"new: {', '.join(new[:20])}"] if new else []
    said += [f"gone: {', '.join(gone[:20])}"] if gone else []
    said += [] if said else ["the same names in another order"]
    return f" ({'; '.join(said)})"
