"""Step 4 for policies: every one plays every game from the same seeds; returns, forgetting, verdict and report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.errors import DataError, NewGamePlusError, RunError
from newgameplus.evaluate.agent_arms import AGENT_ARM_TITLES, AgentArm, Agreement, CurveSummary, PlayedEpisodes
from newgameplus.evaluate.agent_evaluation import compare_agents
from newgameplus.files import digest_bytes, write_json
from newgameplus.games.environments import make_environments
from newgameplus.games.episodes import Demonstrations
from newgameplus.pretrained.policy import Policy, load_policy
from newgameplus.pretrained.policy_spaces import space_differences
from newgameplus.recipe_agent import EnvironmentSettings, RetentionTerm
from newgameplus.run import Run
from newgameplus.scenarios.agent_data import AgentGame, agent_recipe, settings_for
from newgameplus.scenarios.agent_play import Handicap, check_handicap, play_episodes
from newgameplus.scenarios.agent_player import Player, unfit
from newgameplus.scenarios.agent_report import film_policies, write_report_of
from newgameplus.scenarios.agent_strength import strength_table
from newgameplus.scenarios.agent_training import FINE_TUNED, TrainedPolicy
from newgameplus.train.cloning import agreement

__all__ = ["AgentResults", "evaluate_agent_run", "evaluate_agents"]

_MOST_COPIES = 64
_SEED = 1_000_003
"""Evaluation plays games that training did not begin."""


@dataclass(eq=False)
class AgentResults:
    """What an evaluation starts from.

    Attributes:
        run: The run.
        game: The game.
        trained: Policies, the fine-tuned one first.
        terms: What kept it from forgetting.
        skipped: Baselines that did not run, each with the reason.
    """

    run: Run
    game: AgentGame
    trained: Sequence[TrainedPolicy]
    terms: tuple[RetentionTerm, ...]
    skipped: dict[str, str]


def evaluate_agents(results: AgentResults) -> dict[str, Any]:
    """Let every policy play, and write ``evaluation.json`` and ``report.html``."""
    run, recipe = results.run, agent_recipe(results.run)
    games = _playable(results.trained[0].policy, recipe.environment)
    play = _Playing(run, recipe.environment, recipe.evaluate.episodes, recipe.seed + _SEED)
    arms = [_arm(results, one, games, play) for one in results.trained]
    evaluation = compare_agents(
        arms,
        recipe.environment.id,
        random={game: play.kept("random", None, game) for game in games},
        skipped=results.skipped,
        notes=results.game.notes,
        resamples=recipe.evaluate.resamples,
        level=recipe.evaluate.level,
        seed=recipe.seed,
    )
    evaluation["retention"] = {
        "terms": [term.model_dump() for term in results.terms],
        "states": recipe.retention.states if results.terms else None,
    }
    evaluation["start"] = results.trained[0].policy.name
    if recipe.evaluate.levels:
        player = Player(str(run.folder), results.trained[0].policy, recipe.environment, run)
        try:
            evaluation["strength"] = strength_table(player, recipe.evaluate.levels)
        except DataError as error:  # a policy that is not better than random play has no levels in between
            evaluation["notes"].append(f"levels of strength were not measured: {error.message}")
    shown = {AGENT_ARM_TITLES.get(one.plan.name, one.plan.name): one.policy for one in results.trained}
    write_report_of(run, evaluation, *film_policies(shown, recipe.environment, games, recipe.seed + 2 * _SEED))
    write_json(run.folder / "evaluation.json", json.loads(json.dumps(evaluation)))
    return evaluation


def _playable(policy: Policy, settings: EnvironmentSettings) -> list[str]:
    """Return the games that a policy can play, its own first; the game's notes say which it cannot."""
    games, mine = [settings.id], (policy.shape.observations, policy.shape.actions)
    for other in dict.fromkeys(settings.others):
        with make_environments(settings_for(settings, other), count=1) as opened:
            if not space_differences(mine, (opened.observations, opened.actions)) and other not in games:
                games.append(other)
    return games


@dataclass(eq=False)
class _Playing:
    """Plays episodes for an evaluation, keeping each set so that an interrupted evaluation goes on."""

    run: Run
    settings: EnvironmentSettings
    episodes: int
    seed: int
    keep: bool = True

    def kept(self, name: str, policy: Policy | None, game: str, temperature: float = 1.0) -> PlayedEpisodes:
        """Return the episodes of one policy on one game."""
        plain = "".join(letter if letter.isalnum() else "-" for letter in game)[-60:]
        key = f"{name}.played.{plain}.{digest_bytes(game.encode())[:8]}"  # a.b:c and a/b:c are not the same game
        note = self.run.note(key) if self.keep else None
        if note is None:
            played = self._play(policy, game, f"{name} plays {game}", temperature)
            content = {
                "totals": played.totals.tolist(),
                "lengths": played.lengths.tolist(),
                "successes": None if played.successes is None else played.successes.tolist(),
                "seeds": None if played.seeds is None else played.seeds.tolist(),
            }
            if self.keep:
                self.run.keep_note(key, content)
            return played
        with self.run.noted(key):
            successes, seeds = note["successes"], note["seeds"]
            return PlayedEpisodes(
                game,
                np.array(note["totals"], np.float64),
                np.array(note["lengths"], np.int64),
                None if successes is None else np.array(successes, np.bool_),
                None if seeds is None else np.array(seeds, np.int64),
            )

    def _play(self, policy: Policy | None, game: str, title: str, temperature: float) -> PlayedEpisodes:
        settings = settings_for(self.settings, game)
        with make_environments(settings, count=min(self.episodes, _MOST_COPIES)) as environments:
            handicap = Handicap(temperature)
            return play_episodes(policy, environments, self.episodes, self.seed, handicap=handicap, title=title)


def _arm(results: AgentResults, trained: TrainedPolicy, games: Sequence[str], play: _Playing) -> AgentArm:
    temperature = 0.0 if agent_recipe(results.run).evaluate.deterministic else 1.0
    name = trained.plan.name
    return AgentArm(
        name,
        AGENT_ARM_TITLES.get(name, name),
        "fine-tuned" if name == FINE_TUNED else "baseline",
        {game: play.kept(name, trained.policy, game, temperature) for game in games},
        trained.steps,
        round(trained.seconds, 3),
        _curve(trained.rows),
        agreement=_agreement(trained.policy, results.game.held_out),
    )


def _curve(rows: Sequence[Mapping[str, Any]]) -> tuple[CurveSummary, ...]:
    return tuple(point for row in rows if (point := CurveSummary.of_row(row)) is not None)


def _agreement(policy: Policy, held_out: Demonstrations | None) -> Agreement | None:
    if held_out is None or not held_out.episodes:
        return None
    matches, steps = agreement(policy.network, held_out.episodes)
    return Agreement(matches, steps)


def evaluate_agent_run(
    run: Run, games: Sequence[str] | None = None, *, episodes: int | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Let a run's policy, and the one it started from, play games: what was gained, what was forgotten.

    Args:
        run: A run with a model.
        games: Games to play beside the run's own, which is always played: what was forgotten is held against what was
            gained there. By default the others of its recipe.
        episodes: Episodes of each policy on each game; by default as in the recipe.
        seed: Of the episodes; by default one that the fit did not use.

    Returns:
        The evaluation, also written into the run's ``evaluations/``.

    Raises:
        RunError: The run has no model.
        PretrainedModelError: A game has other spaces than the policy; every difference is listed.
    """
    recipe = agent_recipe(run)
    if episodes is not None and episodes < 1:
        raise RunError(f"{episodes} episodes", source=f"--episodes {episodes}", remedy="play 1 or more")
    check_handicap(None, None, seed)
    policies = {FINE_TUNED: load_policy(run.model_folder)}
    if (run.folder / "start" / "card.json").is_file():
        policies["start"] = load_policy(run.folder / "start")
    wanted = list(dict.fromkeys((recipe.environment.id, *(games or recipe.environment.others))))
    play = _Playing(
        run,
        recipe.environment,
        episodes or recipe.evaluate.episodes,
        2 * _SEED + recipe.seed if seed is None else seed,
        keep=False,
    )
    for game in wanted:
        _check_fit(run, policies[FINE_TUNED], recipe.environment, game)
    temperature = 0.0 if recipe.evaluate.deterministic else 1.0
    arms = []
    for name, policy in policies.items():
        kind: Any = "fine-tuned" if name == FINE_TUNED else "baseline"
        played = {game: play.kept(name, policy, game, temperature) for game in wanted}
        arms.append(AgentArm(name, AGENT_ARM_TITLES[name], kind, played))
    evaluation = compare_agents(
        arms,
        recipe.environment.id,
        random={game: play.kept("random", None, game) for game in wanted},
        skipped=dict.fromkeys(("scratch", "plain", "cloning"), "only in the fit's own evaluation"),
        resamples=recipe.evaluate.resamples,
        level=recipe.evaluate.level,
        seed=play.seed,
    )
    path = run.next_file("evaluations", ".json")
    write_json(path, json.loads(json.dumps(evaluation)))
    progress.say(f"written to {path}")
    return evaluation | {"written_to": str(path)}


def _check_fit(run: Run, policy: Policy, settings: EnvironmentSettings, game: str) -> None:
    asked = settings_for(settings, game)
    with make_environments(asked, count=1) as opened:
        mine = policy.shape.observations, policy.shape.actions
        if space_differences(mine, (opened.observations, opened.actions)):
            error: NewGamePlusError = unfit(str(run.folder), policy, opened, asked)
            raise error
