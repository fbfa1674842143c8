"""Demonstrations of before the patch, as the new game would have recorded them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from newgameplus.adapt.surgery_actions import convert_actions, convert_masks
from newgameplus.adapt.surgery_observations import convert_observations, representable
from newgameplus.adapt.surgery_plan import SurgeryPlan
from newgameplus.errors import SurgeryError
from newgameplus.spaces import Actions, ActionSpec, Masks, Observations, ObservationSpec

__all__ = ["convert_episodes"]


class _Episode(Protocol):
    @property
    def observations(self) -> Observations: ...
    @property
    def actions(self) -> Actions: ...
    @property
    def masks(self) -> Masks | None: ...
    @property
    def source(self) -> str: ...


class _Demonstrations(Protocol):
    @property
    def observations(self) -> ObservationSpec: ...
    @property
    def actions(self) -> ActionSpec: ...
    @property
    def episodes(self) -> Sequence[Any]: ...
    @property
    def left_out(self) -> tuple[str, ...]: ...


D = TypeVar("D", bound=_Demonstrations)


def convert_episodes(demonstrations: D, plan: SurgeryPlan) -> D:
    """Return demonstrations in the new spaces; new features show zeros, new actions are never taken.

    Args:
        demonstrations: A :class:`newgameplus.games.episodes.Demonstrations` of the old spaces.
        plan: A plan from these spaces to the new ones (the widths of its blueprint do not matter).

    Returns:
        The same episodes; one in which something was seen or done that the new game does not have is left out, and
        ``left_out`` says which.

    Raises:
        SurgeryError: They are of other spaces than those that the plan starts from, or no episode is left.
    """
    if demonstrations.observations.names != plan.old.observations.names or demonstrations.actions != plan.old.actions:
        remedy = "plan the surgery from the spaces of the demonstrations"
        raise SurgeryError("the plan starts from other spaces than those of the demonstrations", remedy=remedy)
    kept, left_out = [], list(demonstrations.left_out)
    for number, episode in enumerate(demonstrations.episodes):
        converted, reason = _convert(episode, plan)
        if reason:
            left_out.append(f"{episode.source or f'episode {number}'}: {reason}")
        else:
            kept.append(converted)
    if demonstrations.episodes and not kept:
        message = f"none of {len(demonstrations.episodes)} episodes can be brought to the new spaces ({left_out[-1]})"
        raise SurgeryError(message, remedy="record new ones, or map what they need (--map-obs, --map-actions)")
    changed: Any = replace(
        demonstrations,  # type: ignore[type-var]
        observations=plan.new.observations,
        actions=plan.new.actions,
        episodes=tuple(kept),
        left_out=tuple(left_out),
    )
    result: D = changed
    return result


def _convert(episode: Any, plan: SurgeryPlan) -> tuple[Any, str]:
    if not representable(plan, episode.observations).all():
        return episode, "it shows codes or words that the game no longer has"
    actions = convert_actions(plan, episode.actions)
    if plan.new.actions.kind in ("discrete", "multi-discrete") and (np.asarray(actions) < 0).any():
        return episode, "it takes an action that is removed"
    masks = None if episode.masks is None else convert_masks(plan, episode.masks)
    seen = convert_observations(plan, episode.observations)
    return replace(episode, observations=seen, actions=actions, masks=masks), ""
