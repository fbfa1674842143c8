"""What is asked of a source of policies, and how a policy that starts anew is built from a recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from newgameplus.errors import PretrainedModelError, Problem, raise_problems
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.recipe_agent import AgentModelSettings
from newgameplus.spaces import ActionSpec, ObservationSpec

__all__ = ["PolicyRequest", "build_network", "fresh_policy", "seeded", "shape_of"]


@dataclass(frozen=True)
class PolicyRequest:
    """What a source of policies is told beside the name.

    Attributes:
        observations: What the game shows; None if no game is asked for, and the source's own spaces are wanted.
        actions: What the game takes; None likewise.
        settings: How networks, or parts of them, that start anew are built.
        environment: Name of the game; empty if there is none.
        seed: Seed of the weights that start anew.
        source_key: Where the name stands, for messages.
    """

    observations: ObservationSpec | None = None
    actions: ActionSpec | None = None
    settings: AgentModelSettings = field(default_factory=AgentModelSettings)
    environment: str = ""
    seed: int = 0
    source_key: str = "model.start"

    def spaces(self, name: str) -> tuple[ObservationSpec, ActionSpec]:
        """Return the game's spaces, for sources that have none of their own.

        Args:
            name: Full name of the policy, for the message.

        Raises:
            PretrainedModelError: No game was named.
        """
        if self.observations is None or self.actions is None:
            raise PretrainedModelError(
                f"{name!r} brings no actions of its own: it needs a game to be built for",
                source=self.source_key,
                remedy="use it as model.start of a recipe with an environment",
            )
        return self.observations, self.actions


_SHAPE_OPTIONS: Mapping[str, Callable[[Any], bool]] = {
    "layers": lambda value: _whole(value, 64),
    "heads": lambda value: _whole(value, 256),
    "padding": lambda value: value in (0, 1) and not isinstance(value, bool),
    "channels": lambda value: isinstance(value, list | tuple) and all(_whole(one, 4096) for one in value),
}
_EXPECTED = {
    "layers": "a whole number from 1 to 64",
    "heads": "a whole number from 1 to 256 that divides features",
    "padding": "0 or 1",
    "channels": "a list of widths from 1 to 4096",
}


def _whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def shape_of(settings: AgentModelSettings, observations: ObservationSpec, actions: ActionSpec) -> PolicyShape:
    """Return the blueprint that a recipe's settings describe.

    Args:
        settings: Section ``model`` of the recipe. Its options count for fresh starts only; of others they are the
            source's.
        observations: What the game shows.
        actions: What the game takes.

    Raises:
        PretrainedModelError: An option is unknown or has a value that cannot be; all of them are named.
    """
    options = settings.options if settings.start == "fresh" else {}
    where = "model.options"
    problems = [
        Problem(f"a fresh policy has no option {key!r}", where, did_you_mean(key, _SHAPE_OPTIONS))
        for key in options
        if key not in _SHAPE_OPTIONS
    ] + [
        Problem(f"{key} is {options[key]!r}", where, f"give {_EXPECTED[key]}")
        for key, check in _SHAPE_OPTIONS.items()
        if key in options and not check(options[key])
    ]
    heads = options.get("heads")
    if isinstance(heads, int) and not problems and settings.features % heads:
        problems.append(
            Problem(f"features: {settings.features} cannot be split over heads: {heads}", where, "change one")
        )
    raise_problems(problems, PretrainedModelError, f"{len(problems)} options of the fresh policy cannot be used")
    return PolicyShape(
        observations=observations,
        actions=actions,
        encoder=settings.encoder,
        features=settings.features,
        trunk=settings.trunk,
        memory=settings.memory,
        memory_width=settings.memory_width,
        actor=settings.actor,
        critic=settings.critic,
        share=settings.share,
        activation=settings.activation,
        normalize=settings.normalize,
        options=dict(options),
    )


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global random state by a seed, and leave that state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def build_network(shape: PolicyShape, seed: int) -> PolicyNetwork:
    """Build a network whose first weights depend on the seed alone; in evaluation mode."""
    with seeded(seed):
        return PolicyNetwork(shape).eval()


def fresh_policy(request: PolicyRequest) -> Policy:
    """Return a policy that knows nothing yet, built from a recipe's settings."""
    observations, actions = request.spaces("fresh")
    network = build_network(shape_of(request.settings, observations, actions), request.seed)
    return Policy("fresh", network, request.environment, {"seed": request.seed})
