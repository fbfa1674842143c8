"""A patch changed the game's spaces: operate on the policy, prove that it is the same, and measure it at step 0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.adapt.surgery import SurgeryPlan, SurgeryProof, operate, plan_surgery, prove, write_plan
from newgameplus.adapt.surgery_proof import TOLERANCE
from newgameplus.adapt.surgery_training import load_moments_of, save_moments
from newgameplus.errors import NewGamePlusError, RecipeError
from newgameplus.evaluate.agent_arms import AgentArm
from newgameplus.evaluate.agent_evaluation import compare_agents
from newgameplus.files import write_json
from newgameplus.games.environments import make_environments
from newgameplus.games.episodes import step_table
from newgameplus.pretrained.policy import Policy, save_policy
from newgameplus.recipe_agent import AgentModelSettings, AgentRecipe, EnvironmentSettings
from newgameplus.run import Run
from newgameplus.scenarios.agent_data import settings_for
from newgameplus.scenarios.agent_play import play_episodes
from newgameplus.scenarios.agent_player import Player, open_player
from newgameplus.scenarios.agent_report import write_report_of
from newgameplus.scenarios.recipe_text import plain_name
from newgameplus.spaces import Observations
from newgameplus.train.rollout import expert_states

__all__ = ["operate_on", "parse_widths"]

_STATES = 2_000
_SEED = 5_000_011
_MOST_COPIES = 64


def parse_widths(text: str) -> dict[str, list[int]]:
    """Read ``actor=128,128 critic=256``.

    Raises:
        RecipeError: It is no such text.
    """
    found = {}
    for piece in text.split():
        name, equals, numbers = piece.partition("=")
        if not name or not equals or not all(number.isdecimal() for number in numbers.split(",")):
            remedy = "write NAME=WIDTH,WIDTH, such as actor=128,128"
            raise RecipeError(f"{piece!r} is no width", source="--wider", remedy=remedy)
        found[name] = [int(number) for number in numbers.split(",")]
    return found


def operate_on(
    name: str,
    out: Path,
    *,
    env: str | None = None,
    options: Mapping[str, Any] | None = None,
    map_obs: str = "",
    map_actions: str = "",
    wider: str = "",
    memory_width: int | None = None,
    new_action_probability: float = 0.01,
    episodes: int = 20,
    plan_only: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Fit a policy to a game's new spaces without changing what it does.

    The plan is printed and saved first. The proof compares both policies on what the old one really sees in its own
    game, if that can still be opened, else on made-up observations, and says which.

    Args:
        name: Run folder, or a policy of any source.
        out: New run folder.
        env: Game with the new spaces; by default the policy's own, whose layers can be widened.
        options: Keyword arguments of that game.
        map_obs: What became of what was seen; see :mod:`newgameplus.adapt.surgery_text`.
        map_actions: What became of the actions.
        wider: New widths, such as ``actor=128,128``.
        memory_width: New width of the recurrent state.
        new_action_probability: Mean probability of each new action at first.
        episodes: Episodes of the new game to measure the score at step 0 with.
        plan_only: Only plan.
        seed: Of new weights and of the episodes.

    Returns:
        ``plan``, ``plan_text``, and unless only planned ``proof``, ``proof_text``, ``score`` (mean return at step 0
        with its interval) and ``run``.

    Raises:
        SurgeryError: The map cannot be read, or the policy would not be the same although nothing forbids it.
        NewGamePlusError: The policy or the game cannot be opened.
    """
    if episodes < 0:
        raise RecipeError(f"{episodes} episodes", source="--episodes", remedy="give 0 (measure none) or more")
    player = open_player(name, None if Path(name.removeprefix("run:")).is_dir() else env)
    settings = settings_for(player.settings, env, options)
    with make_environments(settings, count=1) as opened:
        plan = plan_surgery(
            player.policy.shape,
            opened.observations,
            opened.actions,
            map_observations=map_obs,
            map_actions=map_actions,
            widths=parse_widths(wider),
            memory_width=memory_width,
            new_action_probability=new_action_probability,
            seed=seed,
        )
    done: dict[str, Any] = {"plan": plan.as_dict(), "plan_text": plan.text()}
    if plan_only:
        return done
    progress.say(plan.text())
    run = Run.create(_recipe(player, settings, out), out)
    try:
        with run.working():
            write_plan(run.folder / "surgery.json", plan)
            return done | _operate(run, player, settings, plan, episodes, seed)
    except (NewGamePlusError, KeyboardInterrupt):
        (run.folder / "surgery.json").unlink(missing_ok=True)
        run.discard_if_unused()
        raise


def _recipe(player: Player, settings: EnvironmentSettings, out: Path) -> AgentRecipe:
    """Return the recipe of the patched run: that of the old one, in the new game."""
    name = plain_name(out.name, "patched")
    before = player.recipe
    if before is None:
        return AgentRecipe(name=name, environment=settings, model=AgentModelSettings(start=player.name))
    data = before.data.model_copy(update={"path": None})
    return before.model_copy(update={"name": name, "environment": settings, "data": data})


def _operate(
    run: Run, player: Player, settings: EnvironmentSettings, plan: SurgeryPlan, episodes: int, seed: int
) -> dict[str, Any]:
    seen = _real_observations(player, seed)
    operated = operate(player.policy, plan, seen)
    proof = prove(player.policy, operated, plan, seen)
    operated.environment = settings.id
    operated.facts["proof"] = proof.as_dict()
    operated.name = f"run:{run.folder}"
    done: dict[str, Any] = {"proof": proof.as_dict(), "proof_text": proof.text(), "run": str(run.folder), "score": None}
    # Measured before anything is kept, so that who is interrupted can begin anew.
    evaluation = _measure(operated, settings, episodes, seed) if episodes > 0 else None
    save_policy(run.model_folder, operated)
    if player.run is not None:
        save_moments(run.model_folder, load_moments_of(player.run.model_folder), plan)
    write_json(run.folder / "surgery.json", {"plan": plan.as_dict(), "proof": proof.as_dict()})
    if evaluation is not None:
        evaluation["surgery"] = _shown(plan, proof)
        done["score"] = evaluation["arms"][0]["games"][evaluation["game"]]["mean"]
        write_report_of(run, evaluation)
        write_json(run.folder / "evaluation.json", json.loads(json.dumps(evaluation)))
    return done


def _shown(plan: SurgeryPlan, proof: SurgeryProof) -> dict[str, Any]:
    """Return what a report shows of an operation."""
    return {
        "plan": plan.text(),
        "largest_difference": proof.exact.largest,
        "observations": proof.observations,
        "tolerance": TOLERANCE * proof.scale,
        "losses": list(plan.losses),
        "notes": list(plan.notes),
        "proof": proof.as_dict(),
    }


def _measure(policy: Policy, settings: EnvironmentSettings, episodes: int, seed: int) -> dict[str, Any]:
    """Let the operated policy play the new game, and random play beside it."""
    with make_environments(settings, count=min(episodes, _MOST_COPIES)) as environments:
        played = play_episodes(policy, environments, episodes, _SEED + seed, title="playing at step 0")
        random = play_episodes(None, environments, episodes, _SEED + seed, title="playing at random")
    note = "as operated, before any step of training"
    arm = AgentArm("fine-tuned", "operated", "fine-tuned", {played.game: played}, note=note)
    return compare_agents([arm], played.game, random={random.game: random}, seed=seed)


def _real_observations(player: Player, seed: int) -> Observations:
    """Return what the old policy sees in its own game; made-up states if that cannot be opened any more, and say so."""
    try:
        with player.open(8) as environments:
            episodes = expert_states(player.policy.network, environments, _STATES, seed, successful=False)
    except NewGamePlusError as error:
        progress.say(
            f"note: {player.settings.id} cannot be played as it was ({error.message}); proved on made-up states"
        )
        return _made_up(player.policy, seed)
    return step_table(episodes).observations


def _made_up(policy: Policy, seed: int, count: int = 512) -> Observations:
    """Draw observations of a policy's spaces: numbers as they were seen in training, codes and choices at random."""
    rng = np.random.default_rng(seed)
    normalizer, found = policy.network.normalizer, {}
    for part in policy.shape.observations.parts:
        shape = (count, *part.shape)
        if part.kind == "vector":
            mean, variance = 0.0, 1.0
            drawn = rng.standard_normal(shape)
            if part.name in normalizer.parts:
                mean, variance = (one.numpy() for one in normalizer.statistics(part.name))  # type: ignore[assignment]
            found[part.name] = (mean + drawn * np.sqrt(variance)).astype(part.dtype)
        elif part.kind == "image":
            found[part.name] = (rng.random(shape) * (part.high or 1.0)).astype(part.dtype)
        else:
            sizes = np.asarray(part.sizes if part.kind != "tokens" else part.sizes * part.shape[0])
            extra = (1,) * (len(part.shape) - 1)
            found[part.name] = (rng.random(shape) * sizes.reshape(-1, *extra)).astype(part.dtype)
    return found
