"""A commented recipe for the user's own game, and what stands in the way of fitting it and what it will cost."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus.errors import NewGamePlusError, Problem, RecipeError
from newgameplus.games.demonstrations import OtherSpacesError, load_demonstrations
from newgameplus.games.environment_check import check_environment
from newgameplus.games.environments import make_environments
from newgameplus.games.episodes import Demonstrations
from newgameplus.pretrained.policy import Policy
from newgameplus.recipe_agent import AgentDataSettings, AgentRecipe, EnvironmentSettings
from newgameplus.scenarios.agent_choice import start_of
from newgameplus.scenarios.agent_data import AgentGame, load_agent_game, of_other_spaces, spaces_text
from newgameplus.scenarios.agent_start import FRESH, load_start, retention_of
from newgameplus.scenarios.recipe_text import plain_name, quoted
from newgameplus.spaces import ObservationSpec

__all__ = ["check_agent", "init_agent"]

_TIMED_STEPS = 20


def init_agent(
    demonstrations: str | Path | None = None,
    *,
    name: str = "",
    skip_bad: bool = False,
    environment: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Return a commented recipe for a game, with or without demonstrations.

    Args:
        demonstrations: Demonstrations to start from; None goes without.
        name: Name of the run folder; by default the game's.
        skip_bad: Leave out episodes that cannot be used; the recipe then does so too.
        environment: Gymnasium id or factory.
        options: Keyword arguments of the environment.

    Raises:
        RecipeError: No game is named.
        GameError: The game cannot be started.
        DataError: The demonstrations cannot be used.
    """
    if environment is None:
        remedy = "name it: ngp init agent --env MiniGrid-DoorKey-8x8-v0, with --demos FOLDER if there are any"
        raise RecipeError("no game is named", source="--env", remedy=remedy)
    settings = EnvironmentSettings(id=environment, options=dict(options or {}))
    with make_environments(settings, count=1) as opened:
        observations, actions = opened.observations, opened.actions
    found = None
    if demonstrations is not None:
        chosen = AgentDataSettings(path=str(demonstrations), skip_bad=skip_bad)
        try:
            found = load_demonstrations(demonstrations, observations=observations, actions=actions, settings=chosen)
        except OtherSpacesError as error:
            raise of_other_spaces(error, str(demonstrations), settings) from error
    plain = plain_name(name or environment.rpartition("/")[2].rpartition(":")[2])
    return _TEMPLATE.format(
        spaces="".join(f"#   {line}\n" for line in spaces_text(observations, actions)),
        demonstrations=_told(found),
        name=plain,
        game=quoted(environment),
        options=json.dumps(dict(options or {})),
        parts=_parts(observations),
        path=quoted(str(demonstrations)) if demonstrations is not None else "null",
        skip_bad="true" if skip_bad else "false",
        success=_success_comment(found),
    )


def _parts(observations: ObservationSpec) -> str:
    """Propose what to see: all, or all but texts where there is more than those."""
    kept = [part.name for part in observations.parts if part.kind != "tokens"]
    if not kept or len(kept) == len(observations.parts):
        return "[]"
    return f"[{', '.join(kept)}]"


def _told(found: Demonstrations | None) -> str:
    if found is None:
        return "# No demonstrations: the policy learns by playing. Record some: ngp record env --env ID --policy ...\n"
    totals = [episode.total for episode in found.episodes]
    known = [episode.success for episode in found.episodes if episode.success is not None]
    succeeded = f", {sum(known)} of {len(known)} reached the goal" if known else ""
    return (
        f"# Demonstrations: {len(found.episodes)} episodes, {found.steps:,} steps, returns {min(totals):.3g} to "
        f"{max(totals):.3g} (mean {np.mean(totals):.3g}){succeeded}\n"
    )


def _success_comment(found: Demonstrations | None) -> str:
    failed = found is not None and any(episode.success is False for episode in found.episodes)
    return "true" if failed else "false"


_TEMPLATE = """\
# A recipe of New Game+: which game, where to start, how to learn, what not to forget.
# The policy
{spaces}{demonstrations}# Next: ngp check this-file.yaml, then ngp fit this-file.yaml

scenario: agent
name: {name}              # the run folder is runs/<date>-{name}
seed: 0

environment:
  id: {game}
  options: {options}
  parts: {parts}             # what the policy sees; [] is everything
  # others: [OldTask-v1]        # games it could play before: what was forgotten is measured there

data:
  path: {path}              # demonstrations: our recordings, Minari, npz or Parquet
  success_only: {success}
  skip_bad: {skip_bad}           # true leaves out episodes that cannot be used, and says which

model:
  start: fresh              # or run:FOLDER, sb3:FILE.zip, checkpoint:FILE, bundled:NAME (or ngp fit --from ...)
  memory: none              # gru or lstm, where the past must be remembered

train:
  steps: 200000             # steps of the game; 0 only imitates
  learning_rate: 0.0003

retention:
  terms: auto               # or a list, e.g. [{{kind: kickstarting, weight: 1.0, schedule: linear}}]; [] keeps nothing

evaluate:
  baselines: [start, scratch, plain, cloning]
  episodes: 100
"""


def check_agent(recipe: AgentRecipe) -> tuple[list[Problem], dict[str, Any]]:
    """Play the game a little, read the demonstrations, load the start; nothing is trained.

    Returns:
        All problems found, and a plan: spaces, demonstrations, model, steps, and estimated seconds and bytes.
    """
    problems, notes, speed = _environment_problems(recipe)
    plan: dict[str, Any] = {"left_out": [], "notes": notes}
    if problems:
        return problems, plan
    try:
        game = load_agent_game(recipe)
    except NewGamePlusError as error:
        return _all_of(error), plan
    plan["notes"] += game.unplayed
    parts = [note.rpartition(": ") for note in (game.learned.left_out if game.learned else ())]
    plan["left_out"] = [{"message": message, "source": source, "remedy": ""} for source, _, message in parts]
    problems, told = _start_problems(recipe, game, speed)
    return problems, plan | told


def _start_problems(recipe: AgentRecipe, game: AgentGame, speed: float) -> tuple[list[Problem], dict[str, Any]]:
    """Look at every candidate; one of other spaces among several is left out, as choosing does.

    Returns:
        All problems found, and a plan: candidates, which are left out, and what a fit from the first costs.
    """
    named = recipe.model.candidates
    problems: list[Problem] = []
    usable: list[str] = []
    left_out: list[dict[str, str]] = []
    plan: dict[str, Any] = {"candidates": usable, "models_left_out": left_out}
    for name in recipe.model.with_found(lambda: [FRESH]):
        try:
            start = load_start(start_of(recipe, name), game)
            terms = retention_of(recipe, game, start)
        except NewGamePlusError as error:
            if len(named) > 1 and hasattr(error.__cause__, "shape"):
                left_out.append({"name": name, "message": error.message, "remedy": error.remedy})
            else:
                problems += recipe.model.about(name, _all_of(error))
            continue
        usable.append(name)
        if "model" not in plan:
            plan |= _described(recipe, game, start, [term.kind for term in terms])
            plan |= _costs(recipe, game, start, speed)
    if not usable and not problems:
        problems += [Problem(one["message"], one["name"], one["remedy"]) for one in left_out]
    return list(dict.fromkeys(problems)), plan


def _all_of(error: NewGamePlusError) -> list[Problem]:
    """Return what an error says as a whole, with its remedy, and then its problems."""
    head = Problem(error.message, error.source, error.remedy)
    return [head, *error.problems] if error.problems[0].message != error.message else list(error.problems)


def _environment_problems(recipe: AgentRecipe) -> tuple[list[Problem], list[str], float]:
    try:
        report = check_environment(recipe.environment)
    except NewGamePlusError as error:
        return list(error.problems), [], 0.0
    return list(report.problems), list(report.notes), report.steps_per_second


def _described(recipe: AgentRecipe, game: AgentGame, start: Policy, terms: list[str]) -> dict[str, Any]:
    learned, held_out = game.learned, game.held_out
    return {
        "environment": recipe.environment.id,
        "spaces": spaces_text(game.observations, game.actions),
        "demonstrations": {
            "learned": len(learned.episodes) if learned else 0,
            "held_out": len(held_out.episodes) if held_out else 0,
            "steps": learned.steps if learned else 0,
        },
        "model": start.name,
        "parameters": start.parameters,
        "strategy": recipe.adapt.strategy,
        "retention": terms,
        "steps": recipe.train.steps,
        "baselines": list(recipe.evaluate.baselines),
    }


def _costs(recipe: AgentRecipe, game: AgentGame, start: Policy, speed: float) -> dict[str, Any]:
    """Estimate from the game's own speed and one timed answer of the network."""
    count = 16 if recipe.environment.count == "auto" else recipe.environment.count
    observations = game.observations.empty(count)
    began = time.monotonic()
    for _ in range(_TIMED_STEPS):
        start.act(observations)
    answer = (time.monotonic() - began) / _TIMED_STEPS / count
    # A step of learning costs about three answers (forward and backward), once for each epoch.
    step = 1.0 / max(speed, 1.0) + answer * (1.0 + 3.0 * recipe.train.epochs / max(1, recipe.train.batch_size // count))
    arms = 1 + sum(name in recipe.evaluate.baselines for name in ("scratch", "plain"))
    played = recipe.evaluate.episodes * (2 + len(recipe.evaluate.baselines)) * 100
    per_step = sum(int(np.prod(part.shape)) * np.dtype(part.dtype).itemsize for part in game.observations.parts)
    return {
        "game_steps_per_second": round(speed),
        "estimated_seconds": round(recipe.train.steps * arms * step + played / max(speed, 1.0), 1),
        "estimated_memory_bytes": int(start.parameters * 16 + per_step * recipe.train.rollout * count * 3),
        "estimated_disk_bytes": int(start.parameters * 4 * (recipe.train.checkpoints + 8)),
    }
