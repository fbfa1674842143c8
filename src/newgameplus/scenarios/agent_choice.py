"""Step 1 of the agent scenario: choose a policy by what it does before any training.

Every candidate plays a few episodes of the game, and says how often its likeliest action is the demonstrator's in
demonstrations kept apart. The best few of them play more, and the mean of their two ranks decides. Random weights
(``fresh``) are what all are held against: if they are a candidate, they always play as much as the best.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from newgameplus import progress
from newgameplus.choose import Candidate, Choice, Cost, ShortRun, combine, rank_by, shortlist
from newgameplus.errors import NewGamePlusError, PretrainedModelError, Problem, raise_problems
from newgameplus.evaluate.returns import mean_interval
from newgameplus.pretrained.licences import caution, use_problem
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_bundled import list_policies
from newgameplus.recipe_agent import AgentRecipe
from newgameplus.recipe_start import AUTO
from newgameplus.scenarios.agent_data import AgentGame, load_agent_game
from newgameplus.scenarios.agent_play import play_episodes
from newgameplus.scenarios.agent_start import FRESH, is_fresh, load_start
from newgameplus.train.cloning import agreement

__all__ = ["choose_agent", "choose_agent_start", "start_of"]

MEASURE = "return"
_TOP = 3
_EPISODES = 20
_FIRST_EPISODES = 4
_COPIES = 16
_SAY_THEIR_GAME = ("bundled:", "run:")  # archives of other libraries do not
_OWN_SEEDS = 500_000  # episodes that neither training nor evaluation begins with
_BYTES_A_WEIGHT = 16
_FEW_EPISODES = 10
_SCORES: Mapping[str, float] = {"return": 1.0, "agreement": 1.0}
_ESTIMATES: Mapping[str, float] = {"prior": 1.0, **_SCORES}  # a few episodes often end alike


def start_of(recipe: AgentRecipe, name: str) -> AgentRecipe:
    """Return a recipe that starts from one of its candidates alone, by label, with the options that are for it."""
    return recipe.model_copy(update={"model": recipe.model.only(name)})


def choose_agent(recipe: AgentRecipe, *, top: int = _TOP, short_run: bool = True) -> Choice:
    """Rank the policies that a recipe may start from; nothing is kept.

    Args:
        recipe: The recipe.
        top: How many of the best play all the episodes.
        short_run: Whether any do; demonstrations and the first few episodes decide otherwise.

    Raises:
        NewGamePlusError: The game, its demonstrations or a policy that was named cannot be used.
    """
    return choose_agent_start(recipe, load_agent_game(recipe), _EPISODES if short_run else 0, top)


def choose_agent_start(recipe: AgentRecipe, game: AgentGame, episodes: int = _EPISODES, top: int = _TOP) -> Choice:
    """Rank the policies that a recipe may start from.

    Args:
        recipe: The recipe; ``model.start`` names one or several, or is ``auto``: random weights, all bundled policies
            and those of earlier runs in the recipe's ``runs``.
        game: The game, and demonstrations if there are any.
        episodes: How many the best few play; 0 lets the first few that each plays decide.
        top: How many of the best play them; random weights play them too and do not count.

    Raises:
        PretrainedModelError: A policy that was named cannot be used; one of other spaces tells the surgery that mends.
    """
    candidates, left_out = _measure_all(recipe, game)
    if episodes:
        others = [one for one in candidates if one.start != FRESH]
        best = {one.name for one in shortlist(others, top, _ESTIMATES)}
        candidates = [
            _played_on(recipe, game, one, episodes) if one.name in best or one.start == FRESH else one
            for one in candidates
        ]
    return _decide(candidates, game, episodes or _FIRST_EPISODES, left_out)


def _measure_all(recipe: AgentRecipe, game: AgentGame) -> tuple[list[Candidate], tuple[Mapping[str, str], ...]]:
    """Return the candidates that can be used, and those that are left out.

    Raises:
        PretrainedModelError: None can be used, or one that was named cannot.
    """
    named = recipe.model.candidates
    candidates: list[Candidate] = []
    problems: list[Problem] = []
    left_out: list[Mapping[str, str]] = []
    for name in recipe.model.with_found(lambda: [FRESH, *_local(recipe)]):
        try:
            candidates.append(_measure(recipe, game, name))
        except NewGamePlusError as error:
            several = len(named) > 1 or AUTO in named
            if name in named and not (several and hasattr(error.__cause__, "shape")):
                problems += recipe.model.about(name, error.problems)
            else:  # of other spaces: the others are still worth a look
                message = "; ".join(dict.fromkeys([error.message, *(p.message for p in error.problems[:3])]))
                left_out.append({"name": name, "message": message, "remedy": error.remedy or ""})
    raise_problems(problems, PretrainedModelError, f"{len(problems)} problems with what to start from")
    if not candidates:
        why = [Problem(one["message"], one["name"], one["remedy"]) for one in left_out]
        raise_problems(why, PretrainedModelError, "none of these policies fits the game")
    return candidates, tuple(left_out)


def _local(recipe: AgentRecipe) -> list[str]:
    """Return the bundled policies, and those of earlier runs."""
    try:
        bundled = [str(card["name"]) for card in list_policies()]
    except NewGamePlusError:  # a damaged installation must not hide the policies beside it; ngp doctor says so
        bundled = []
    runs = [f"run:{path.parent.parent}" for path in sorted(Path(recipe.runs).glob("*/model/card.json"))]
    return [*bundled, *(name for name in runs if _is_policy(Path(name.removeprefix("run:"))))]


def _is_policy(folder: Path) -> bool:
    try:
        content = json.loads((folder / "model" / "card.json").read_text(encoding="utf-8"))
        return "observations" in content["shape"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _measure(recipe: AgentRecipe, game: AgentGame, name: str) -> Candidate:
    """Let one policy play a few episodes, and answer.

    Raises:
        NewGamePlusError: It cannot be loaded, does not fit the game, or its licence forbids the use.
    """
    began = time.monotonic()
    policy = load_start(start_of(recipe, name), game)
    license_ = "" if is_fresh(policy) else str(policy.facts.get("license") or "unknown")
    _check(recipe, name, license_)
    scores = {"prior": _prior(policy, game)}
    if game.held_out is not None and (some := [one for one in game.held_out.episodes if len(one)]):
        matches, steps = agreement(policy.network, some)
        scores["agreement"] = float(matches.sum() / steps.sum())
    run, cost = _play(recipe, game, policy, name, _FIRST_EPISODES)
    scores["return"] = run.value
    seconds = round(time.monotonic() - began, 3)
    start = recipe.model.find(name)
    license_ = license_ or "none needed"
    found = Candidate(name, policy.parameters, scores, seconds, license_, _why(policy, game), cost)
    return replace(found, start=start.name, options=dict(start.options))


def _played_on(recipe: AgentRecipe, game: AgentGame, candidate: Candidate, episodes: int) -> Candidate:
    """Let one of the best play all the episodes; their return stands in place of that of the first few."""
    policy = load_start(start_of(recipe, candidate.name), game)
    run, cost = _play(recipe, game, policy, candidate.name, episodes)
    return replace(candidate, scores={**candidate.scores, "return": run.value}, cost=cost, short_run=run)


def _play(recipe: AgentRecipe, game: AgentGame, policy: Policy, name: str, episodes: int) -> tuple[ShortRun, Cost]:
    began = time.monotonic()
    with game.open(count=min(episodes, _COPIES)) as environments:
        seed = recipe.seed + _OWN_SEEDS
        played = play_episodes(policy, environments, episodes, seed, title=f"playing, {name}")
    seconds = time.monotonic() - began
    each = seconds / max(1, int(played.lengths.sum()))
    found = mean_interval(played.totals, seed=recipe.seed)
    run = ShortRun(float(found.value), float(found.low), float(found.high), 0, round(seconds, 3), MEASURE)
    return run, Cost(each, each * recipe.train.steps, policy.parameters * _BYTES_A_WEIGHT)


def _check(recipe: AgentRecipe, name: str, license_: str) -> None:
    if not license_:
        return
    problem = use_problem(name, license_, recipe.model.use)
    if problem is not None:
        raise PretrainedModelError(problem.message, source=problem.source, remedy=problem.remedy)
    if (told := caution(license_, recipe.model.use)) is not None:
        progress.say(f"note: {name}: {told}")


def _prior(policy: Policy, game: AgentGame) -> float:
    """Return what is expected before anything is measured: made for this game, for another, or for none."""
    return 0.0 if is_fresh(policy) else 2.0 if _made_for(policy) == game.settings.id else 1.0


def _made_for(policy: Policy) -> str:
    """Return the game that a policy was made for, as far as its source says; empty if it does not."""
    return policy.environment if policy.name.startswith(_SAY_THEIR_GAME) else ""


def _why(policy: Policy, game: AgentGame) -> str:
    if is_fresh(policy):
        return "random weights know no game"
    made_for = _made_for(policy)
    if not made_for:
        return "it was made for these spaces; which game, its source does not say"
    return "it was made for this game" if made_for == game.settings.id else f"it was made for {made_for}"


def _decide(
    candidates: Sequence[Candidate], game: AgentGame, episodes: int, left_out: tuple[Mapping[str, str], ...]
) -> Choice:
    tried = combine([one for one in candidates if one.short_run is not None], _SCORES)
    rest = [one for one in candidates if one.short_run is None]
    ranked = (*tried, *combine(rest, _ESTIMATES if tried else _SCORES))
    best = ranked[0]
    reason = f"{best.name}: {_told(best)} before training"
    if len(ranked) > 1:
        reason += f", against {_told(ranked[1])} of {ranked[1].name}"
    reason += f" (estimates from {episodes} episodes{'' if 'agreement' in best.scores else ', no demonstrations'})"
    prior = tuple(one.name for one in rank_by(candidates, "prior"))
    return Choice(best.name, ranked, reason, prior, _advice(ranked, game), left_out)


def _told(candidate: Candidate) -> str:
    parts = [f"return {candidate.scores['return']:.3g}"]
    if "agreement" in candidate.scores:
        parts.append(f"agreement {candidate.scores['agreement']:.0%}")
    return " and ".join(parts)


def _advice(ranked: tuple[Candidate, ...], game: AgentGame) -> str:
    """Return one paragraph, each sentence with the number that it rests on."""
    best = ranked[0]
    fresh = next((one for one in ranked if one.start == FRESH), None)
    sentences = []
    if best.start == FRESH:
        sentences.append("No policy does better than random weights before training: there is nothing to keep here.")
    elif fresh is not None and best.short_run is not None and fresh.short_run is not None:
        low, high = best.short_run.low, fresh.short_run.high
        if low is not None and high is not None and low > high:
            sentences.append(
                f"{best.name} plays better than random weights ({_told(best)} against {_told(fresh)}): keep what it "
                "knows (retention.terms: auto)."
            )
        else:
            sentences.append(
                f"{best.name} is not clearly better than random weights ({_told(best)} against {_told(fresh)}): "
                "let the from-scratch baseline judge."
            )
    learned = len(game.learned.episodes) if game.learned is not None else 0
    if not learned:
        sentences.append("There are no demonstrations; a few recorded games (ngp record env) make every start better.")
    elif learned < _FEW_EPISODES:
        sentences.append(f"{learned} demonstrations are few: record more of them, or play longer (train.steps).")
    else:
        sentences.append(f"{learned} demonstrations are enough to imitate first (train.clone), then play.")
    sentences.append("These are rules of thumb; the fit decides.")
    return " ".join(sentences)
