"""Whoever can play: a run folder, or a policy of any source, with the game that it plays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from newgameplus.adapt.surgery import describe_differences
from newgameplus.errors import PretrainedModelError, RecipeError
from newgameplus.games.environment_contract import Environments
from newgameplus.games.environments import make_environments
from newgameplus.pretrained.policy import Policy, load_policy
from newgameplus.pretrained.policy_request import PolicyRequest
from newgameplus.pretrained.policy_sources import load_policy_source
from newgameplus.pretrained.policy_spaces import space_differences
from newgameplus.recipe_agent import AgentRecipe, EnvironmentSettings
from newgameplus.run import Run
from newgameplus.scenarios.agent_data import agent_recipe, settings_for, surgery_command

__all__ = ["Player", "open_player"]


@dataclass(eq=False)
class Player:
    """A policy and the game it plays.

    Attributes:
        name: How it was asked for.
        policy: The policy.
        settings: The game.
        run: Its run folder, if it has one.
    """

    name: str
    policy: Policy
    settings: EnvironmentSettings
    run: Run | None = None

    @property
    def recipe(self) -> AgentRecipe | None:
        """The recipe of its run, if it has one."""
        return None if self.run is None else agent_recipe(self.run)

    def open(self, count: int | None = None) -> Environments:
        """Open copies of the game, after a look at whether the policy fits it.

        Raises:
            PretrainedModelError: It does not; every difference is listed with the surgery that would mend it.
        """
        environments = make_environments(self.settings, count=count)
        mine, theirs = self.policy.shape, environments
        if space_differences((mine.observations, mine.actions), (theirs.observations, theirs.actions)):
            environments.close()
            raise unfit(self.name, self.policy, environments, self.settings)
        return environments


def unfit(name: str, policy: Policy, environments: Environments, settings: EnvironmentSettings) -> PretrainedModelError:
    """Return what to say when a policy was made for other spaces than a game has."""
    mine = policy.shape
    problems = describe_differences(mine.observations, mine.actions, environments.observations, environments.actions)
    message = f"{name} was made for other spaces than those of {environments.name}"
    spaces = (mine.observations, mine.actions), (environments.observations, environments.actions)
    remedy = f"operate on it first: {surgery_command(name, settings, *spaces)}"
    return PretrainedModelError(message, source=name, remedy=remedy, problems=problems)


def open_player(name: str | Path, environment: str | None = None, options: Mapping[str, Any] | None = None) -> Player:
    """Open a run folder, or load a policy from any source.

    Args:
        name: Run folder, or ``source:name`` such as ``sb3:old.zip``.
        environment: Game to play; by default the one that the policy was made for.
        options: Keyword arguments of the game.

    Raises:
        RunError: The folder is no run of the agent scenario, or has no model yet.
        PretrainedModelError: The policy cannot be loaded.
        RecipeError: It is not known which game to play.
    """
    text = str(name)
    folder = Path(text.removeprefix("run:"))
    if (folder / "recipe.yaml").is_file() or (":" not in text and "/" in text):
        run = Run.open(folder)
        settings = settings_for(agent_recipe(run).environment, environment, options)
        return Player(str(folder), load_policy(run.model_folder), settings, run)
    request = PolicyRequest(source_key="policy")
    if environment is not None:
        asked = EnvironmentSettings(id=environment, options=dict(options or {}))
        with make_environments(asked, count=1) as opened:
            request = replace(
                request, observations=opened.observations, actions=opened.actions, environment=environment
            )
    policy = load_policy_source(text, request)
    game = environment or policy.environment
    if not game:
        remedy = "name it: --env ID"
        raise RecipeError(f"it is not known which game {text} plays", source="--env", remedy=remedy)
    settings = EnvironmentSettings(id=game, options=dict(options or {}), parts=_known_parts(policy, request))
    return Player(text, policy, settings)


def _known_parts(policy: Policy, request: PolicyRequest) -> tuple[str, ...]:
    """Return the parts that a policy sees if the game shows those and more; none, which means all, otherwise."""
    mine, theirs = policy.shape.observations.names, request.observations
    shown = () if theirs is None else theirs.names
    return tuple(mine) if set(mine) < set(shown) else ()
