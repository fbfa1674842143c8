"""The three jobs; each wires the four steps for its own data. A new one is its files, its schema and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from newgameplus.recipe import KnownNames
    from newgameplus.run import Run

__all__ = ["SCENARIOS", "Job", "Scenario", "known_names", "open_scenario"]


class Scenario(Protocol):
    """The four steps of one job; :mod:`newgameplus.finetune` calls them in order and hands on what each gives."""

    def load(self) -> Any:
        """Load what the game gives: read, split, check for leaks."""

    def choose(self, game: Any, /) -> Any:
        """Step 1: choose what to start from."""

    def adapt(self, start: Any, /) -> Any:
        """Step 2: plan what may move, for the fine-tuned model and for the baselines trained beside it."""

    def train(self, game: Any, start: Any, plans: Any, /) -> Any:
        """Step 3: train every plan."""

    def evaluate(self, game: Any, start: Any, trained: Any, /) -> Any:
        """Step 4: hold it against the baselines, and write evaluation and report."""


@dataclass(frozen=True)
class Job:
    """Where the parts of a scenario are, each as ``module:name``; none is imported before it is used.

    Attributes:
        data: What the user brings, in a word.
        scenario: Class of the four steps, made of a run.
        init: Function that writes a commented recipe for data.
        check: Function of a recipe that returns all problems and the plan.
        names: Function that gives the names that a recipe may use, by dotted key.
        pretrain: Function that goes on with the pretraining of what a recipe starts from.
        choose: Function of a recipe, ``top`` and ``short_run`` that ranks what it may start from and returns a
            :class:`newgameplus.choose.Choice`.
        follow: Function of a recipe that joins in with the main process where several were started; empty: one only.
        shards: Whether weights can be spread over processes (FSDP), too.
    """

    data: str
    scenario: str
    init: str
    check: str
    names: str
    pretrain: str
    choose: str = ""
    follow: str = ""
    shards: bool = False

    def part(self, name: str) -> Callable[..., Any]:
        """Import one of the parts."""
        module, _, attribute = str(getattr(self, name)).partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return found


SCENARIOS: Mapping[str, Job] = MappingProxyType(
    {
        "behavior": Job(
            data="labelled clips",
            scenario="newgameplus.scenarios.behavior:BehaviorScenario",
            init="newgameplus.scenarios.behavior_recipe:init_behavior",
            check="newgameplus.scenarios.behavior_recipe:check_behavior",
            names="newgameplus.scenarios:_behavior_names",
            choose="newgameplus.scenarios.behavior_choosing:choose_behavior",
            follow="newgameplus.scenarios.behavior_sharing:follow_behavior",
            shards=True,
            pretrain="newgameplus.scenarios.behavior_pretraining:pretrain_behavior",
        ),
        "scene": Job(
            data="maps",
            scenario="newgameplus.scenarios.scene:SceneScenario",
            init="newgameplus.scenarios.scene_recipe:init_scene",
            check="newgameplus.scenarios.scene_recipe:check_scene",
            names="newgameplus.scenarios:_scene_names",
            choose="newgameplus.scenarios.scene_choice:choose_scene",
            follow="newgameplus.scenarios.scene_sharing:follow_scene",
            pretrain="newgameplus.scenarios.scene_pretraining:pretrain_scene",
        ),
        "agent": Job(
            data="demonstrations",
            scenario="newgameplus.scenarios.agent:AgentScenario",
            init="newgameplus.scenarios.agent_recipe:init_agent",
            check="newgameplus.scenarios.agent_recipe:check_agent",
            names="newgameplus.scenarios:_agent_names",
            choose="newgameplus.scenarios.agent_choice:choose_agent",
            pretrain="newgameplus.scenarios.pretraining:refuse_agents",
        ),
    }
)


def open_scenario(run: Run) -> Scenario:
    """Return the scenario that a run's recipe names."""
    scenario: Scenario = SCENARIOS[run.recipe.scenario].part("scenario")(run)
    return scenario


def known_names(scenario: str) -> KnownNames:
    """Return the names that registries know and that a recipe of a scenario may use, by dotted key."""
    names: KnownNames = SCENARIOS[scenario].part("names")()
    return names


def _behavior_names() -> KnownNames:
    from newgameplus.adapt import STRATEGIES
    from newgameplus.scenarios.behavior_baselines import BASELINES
    from newgameplus.scenarios.behavior_pretraining import OBJECTIVES
    from newgameplus.scenarios.sequence_pretraining import SEQUENCE_OBJECTIVES
    from newgameplus.train.game_augment import AUGMENTATIONS, GAMES
    from newgameplus.train.sequence_augment import SEQUENCE_AUGMENTATIONS

    return {
        "adapt.strategy": list(STRATEGIES),
        "evaluate.baselines": list(BASELINES),
        "pretrain.objectives": ["auto", *OBJECTIVES, *SEQUENCE_OBJECTIVES],
        "train.augment": [*AUGMENTATIONS, GAMES, *SEQUENCE_AUGMENTATIONS],
    }


def _scene_names() -> KnownNames:
    from newgameplus.adapt.tile_strategies import TILE_STRATEGIES
    from newgameplus.games.formats import FORMATS
    from newgameplus.games.measures import MEASURES
    from newgameplus.games.rules import RULES
    from newgameplus.scenarios.scene import SCENE_ARMS

    return {
        "data.format": list(FORMATS),
        "data.rules": [*RULES, "*.yaml", "*.yml", "*:*"],
        "adapt.strategy": list(TILE_STRATEGIES),
        "control.measures": ["auto", *MEASURES, "tile:*"],
        "evaluate.baselines": list(SCENE_ARMS),
    }


def _agent_names() -> KnownNames:
    from newgameplus.scenarios.agent import AGENT_ARMS
    from newgameplus.train.retention import RETENTION

    return {"evaluate.baselines": list(AGENT_ARMS), "retention.terms.*.kind": list(RETENTION)}
