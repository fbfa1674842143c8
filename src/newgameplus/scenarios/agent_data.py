"""What the agent scenario works on: the game's spaces, and the demonstrations that fit them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from newgameplus.adapt.surgery import describe_differences, suggest_maps
from newgameplus.errors import DataError, GameError, RunError
from newgameplus.files import digest_bytes
from newgameplus.games.demonstrations import OtherSpacesError, load_demonstrations, split_demonstrations
from newgameplus.games.environment_contract import Environments
from newgameplus.games.environments import make_environments
from newgameplus.games.episodes import Demonstrations
from newgameplus.pretrained.policy_spaces import space_differences
from newgameplus.recipe_agent import AgentRecipe, EnvironmentSettings
from newgameplus.run import Run
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

__all__ = [
    "AgentGame",
    "agent_recipe",
    "load_agent_game",
    "of_other_spaces",
    "option_words",
    "settings_for",
    "spaces_text",
    "surgery_command",
]

Spaces = tuple[ObservationSpec, ActionSpec]
_TOLD_COPIES = 3
_COPY = ": the same as "


def agent_recipe(run: Run) -> AgentRecipe:
    """Return the recipe of an agent run.

    Raises:
        RunError: The run is of another scenario.
    """
    recipe = run.recipe
    if isinstance(recipe, AgentRecipe):
        return recipe
    message = f"this run is of the scenario {recipe.scenario}, which plays no games"
    raise RunError(message, source=str(run.folder), remedy="give a run of the agent scenario")


def settings_for(
    settings: EnvironmentSettings, game: str | None, options: Mapping[str, Any] | None = None
) -> EnvironmentSettings:
    """Return the settings of another game, stepped like this one.

    Args:
        settings: Those of a recipe.
        game: Gymnasium id or factory; None keeps the game.
        options: Keyword arguments of the other game.
    """
    if game is None:
        return settings if not options else settings.model_copy(update={"options": {**settings.options, **options}})
    kept = settings.options if game == settings.id else {}
    return settings.model_copy(update={"id": game, "options": {**kept, **(options or {})}, "others": ()})


@dataclass(eq=False)
class AgentGame:
    """A game, as the four steps see it.

    Attributes:
        settings: Which game.
        observations: What is seen.
        actions: What can be done.
        learned: Demonstrations to learn from; None without any.
        held_out: Demonstrations to measure agreement on; None without any.
        notes: What a user should know.
        unplayed: Those of the notes that are about other games which cannot be played.
    """

    settings: EnvironmentSettings
    observations: ObservationSpec
    actions: ActionSpec
    learned: Demonstrations | None = None
    held_out: Demonstrations | None = None
    notes: list[str] = field(default_factory=list)
    unplayed: list[str] = field(default_factory=list)

    def open(self, game: str | None = None, count: int | None = None) -> Environments:
        """Open copies of the game, or of another one; to be closed again."""
        return make_environments(settings_for(self.settings, game), count=count)

    def fingerprint(self) -> dict[str, Any]:
        """Return what must be the same when a run is resumed."""
        return {
            "observations": self.observations.as_dict(),
            "actions": self.actions.as_dict(),
            "learned": _digests(self.learned),
            "held_out": _digests(self.held_out),
        }


def _digests(demonstrations: Demonstrations | None) -> list[str]:
    if demonstrations is None:
        return []
    found = []
    for episode in demonstrations.episodes:
        arrays = [episode.actions, episode.rewards, *(episode.observations[n] for n in sorted(episode.observations))]
        found.append(digest_bytes(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))[:16])
    return found


def load_agent_game(recipe: AgentRecipe) -> AgentGame:
    """Open the game once to see its spaces, and read the demonstrations that belong to it.

    Raises:
        GameError: The game cannot be started.
        DataError: The demonstrations cannot be used; if they were recorded in other spaces, every difference is listed
            with what would mend it.
    """
    with make_environments(recipe.environment, count=1) as environments:
        game = AgentGame(recipe.environment, environments.observations, environments.actions)
    game.unplayed = _of_others(recipe.environment, game)
    game.notes += game.unplayed
    if recipe.data.path is None:
        return game
    demonstrations = _read(recipe, game)
    game.notes += _few_copies(demonstrations.left_out)
    game.learned, game.held_out = split_demonstrations(demonstrations, recipe.data.test, recipe.seed)
    if not game.learned.episodes:
        remedy = "record more episodes, or lower data.test"
        raise DataError("no demonstration is left to learn from", source=recipe.data.path, remedy=remedy)
    return game


def _of_others(settings: EnvironmentSettings, game: AgentGame) -> list[str]:
    """Open the other games once, before hours of training, and say which of them a policy of this one cannot play."""
    notes, mine = [], (game.observations, game.actions)
    for other in settings.others:
        try:
            with make_environments(settings_for(settings, other), count=1) as opened:
                differences = space_differences(mine, (opened.observations, opened.actions))
        except GameError as error:
            remedy = error.problems[0].remedy
            raise GameError(f"{other}: {error.message}", source="environment.others", remedy=remedy) from error
        if differences:
            notes.append(f"{other} cannot be played: {differences[0].message}")
    return notes


def _few_copies(left_out: Sequence[str]) -> list[str]:
    """Return what was left out and why; of episodes that are copies of others the first ones and a count."""
    copies = [line for line in left_out if _COPY in line]
    more = copies[_TOLD_COPIES:]
    kept = [line for line in left_out if line not in set(more)]
    return [*kept, f"left out: {len(more):,} more episodes that are copies of others"] if more else kept


def option_words(options: Mapping[str, Any]) -> list[str]:
    """Return options of a game as they are given on the command line."""
    told = {key: value if isinstance(value, str) else json.dumps(value) for key, value in options.items()}
    return [word for key, value in told.items() for word in ("--option", f"{key}={value}")]


def surgery_command(name: str, settings: EnvironmentSettings, old: Spaces, new: Spaces) -> str:
    """Return the command that fits a policy to other spaces; what it maps may be a guess, to be put right.

    Args:
        name: The policy.
        settings: The game that it is to play.
        old: What the policy sees and does.
        new: What is seen and done in the game.
    """
    words = [name, "--env", settings.id, *option_words(settings.options)]
    maps = zip(("--map-obs", "--map-actions"), suggest_maps(*old, *new), strict=True)
    words += [word for option, told in maps if told for word in (option, told)]
    return f"ngp surgery {shlex.join([*words, '--out'])} PATCHED"


def of_other_spaces(error: OtherSpacesError, path: str, settings: EnvironmentSettings) -> DataError:
    """Return what to say of demonstrations that were recorded before a patch: every difference, and what to do."""
    (seen, done), (sees, does) = error.found, error.wanted
    problems = describe_differences(seen, done, sees, does) or error.problems
    command = surgery_command("RUN", settings, error.found, error.wanted)
    remedy = (
        "record them anew (ngp record env); or fit a RUN from them in the game as it was, bring that to this one: "
        f"{command}, and start from it: ngp fit RECIPE --from run:PATCHED, with data.path: null"
    )
    count = "1 difference" if len(problems) == 1 else f"{len(problems)} differences"
    message = f"the demonstrations are of other spaces than the game: {count}"
    return DataError(message, source=path, remedy=remedy, problems=problems)


def _read(recipe: AgentRecipe, game: AgentGame) -> Demonstrations:
    """Read the demonstrations.

    Raises:
        DataError: They cannot be used; if they are of other spaces, every difference is told with what would mend it.
    """
    try:
        return _read_parts(recipe, game)
    except OtherSpacesError as error:
        raise of_other_spaces(error, str(recipe.data.path), recipe.environment) from error


def _read_parts(recipe: AgentRecipe, game: AgentGame) -> Demonstrations:
    """Read the demonstrations; of those that show more than the policy is to see, only that is kept."""
    path, wanted = str(recipe.data.path), game.observations
    reading: dict[str, Any] = {"actions": game.actions, "settings": recipe.data, "seed": recipe.seed}
    if not recipe.environment.parts:
        return load_demonstrations(path, observations=wanted, **reading)
    everything = recipe.environment.model_copy(update={"parts": ()})
    with make_environments(everything, count=1) as environments:
        whole = environments.observations
    try:
        found = load_demonstrations(path, observations=whole, **reading)
    except OtherSpacesError:
        return load_demonstrations(path, observations=wanted, **reading)
    episodes = tuple(
        replace(episode, observations={name: episode.observations[name] for name in wanted.names})
        for episode in found.episodes
    )
    return replace(found, observations=wanted, episodes=episodes)


def spaces_text(observations: ObservationSpec, actions: ActionSpec) -> list[str]:
    """Describe what is seen and what can be done, a line each."""
    lines = [f"sees {_part_text(part)}" for part in observations.parts]
    names = f": {', '.join(actions.names[:20])}" if actions.names else ""
    told = {
        "discrete": f"one of {actions.width} actions",
        "multi-discrete": f"{len(actions.sizes)} choices of {', '.join(map(str, actions.sizes))}",
        "binary": f"any of {actions.width} buttons",
        "continuous": f"{actions.width} numbers",
    }
    return [*lines, f"does {told[actions.kind]}{names}"]


def _part_text(part: ObservationPart) -> str:
    shape = "x".join(map(str, part.shape)) or "1"
    names = f" ({', '.join(part.features[:20])})" if part.features else ""
    told = {
        "vector": f"{shape} numbers",
        "image": f"a picture of {shape}",
        "grid": f"a grid of {shape} codes",
        "tokens": f"a text of {shape} words",
        "choice": f"choices of {', '.join(map(str, part.sizes))}",
    }
    return f"{part.name}: {told[part.kind]}{names}"
