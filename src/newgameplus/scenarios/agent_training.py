"""Step 3 for policies: imitate, then play, each arm from the same start; every part resumes where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from newgameplus import progress
from newgameplus.adapt.surgery_training import AfterSurgery, load_moments_of, save_moments
from newgameplus.errors import RecipeError
from newgameplus.games.episodes import Episode, StepTable, step_table
from newgameplus.pretrained.policy import Policy, load_policy, save_policy
from newgameplus.pretrained.policy_spaces import space_differences
from newgameplus.recipe_agent import AgentRecipe, RetentionTerm
from newgameplus.run import Run
from newgameplus.scenarios.agent_data import AgentGame
from newgameplus.scenarios.agent_start import copy_policy, fresh_policy, is_fresh
from newgameplus.tensors import load_tensors, save_tensors
from newgameplus.train.cloning import Cloning, clone_policy
from newgameplus.train.policy_optimization import PolicyTraining, train_policy
from newgameplus.train.recording import epoch_recorder
from newgameplus.train.rollout import expert_states

__all__ = ["CLONED", "FINE_TUNED", "START_FOLDER", "AgentPlan", "AgentTrainer", "TrainedPolicy"]

FINE_TUNED = "fine-tuned"
CLONED = "cloned"
"""The start after imitating: arms that clone all go on from it."""
START_FOLDER = "start"
"""Folder of a run that keeps the policy that it started from."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class AgentPlan:
    """One policy to make.

    Attributes:
        name: Name of the arm.
        fresh: Start from random weights instead of the start policy.
        clones: Imitate the demonstrations.
        plays: Learn by playing.
        terms: What keeps it from forgetting while it plays.
    """

    name: str
    fresh: bool = False
    clones: bool = False
    plays: bool = False
    terms: tuple[RetentionTerm, ...] = ()


@dataclass(eq=False)
class TrainedPolicy:
    """A policy that was made.

    Attributes:
        plan: How.
        policy: The policy.
        steps: Steps of the game that it learned from.
        seconds: Time that took.
        rows: Its learning curve, as in metrics.jsonl.
        moments: Of its optimizer, by the names of the weights; empty if it did not play.
    """

    plan: AgentPlan
    policy: Policy
    steps: int = 0
    seconds: float = 0.0
    rows: Rows = field(default_factory=list)
    moments: dict[str, Tensor] = field(default_factory=dict)


class AgentTrainer:
    """Makes the policies of a run.

    Args:
        run: The run folder.
        game: The game.
        start: Where to start from; not changed.
        recipe: The run's recipe, settled on that start.
    """

    def __init__(self, run: Run, game: AgentGame, start: Policy, recipe: AgentRecipe) -> None:
        self.run, self.game, self.start, self.recipe = run, game, start, recipe
        self._states: StepTable | None = None

    def train(self, plan: AgentPlan) -> TrainedPolicy:
        """Make one policy, or take it from an earlier try."""
        fine_tuned = plan.name == FINE_TUNED
        folder = self.run.model_folder if fine_tuned else self.run.folder / "checkpoints" / plan.name
        note = self.run.note(f"{plan.name}.trained")
        if note is not None and (folder / "card.json").is_file():
            rows = [row for row in self.run.metrics() if row.get("arm") == plan.name]
            with self.run.noted(f"{plan.name}.trained"):
                return TrainedPolicy(plan, load_policy(folder), note["steps"], note["seconds"], rows)
        policy = fresh_policy(self.recipe, self.game, self.start) if plan.fresh else copy_policy(self.start)
        made = TrainedPolicy(plan, policy)
        if plan.clones:
            made.seconds += self._clone(policy)
        if plan.plays:
            self._play(made)
        policy.environment = self.recipe.environment.id
        extra = {"start": self.start.name, "arm": plan.name, "retention": [term.model_dump() for term in plan.terms]}
        save_policy(folder, policy, extra)
        if fine_tuned:
            save_moments(folder, made.moments)
        self.run.keep_note(f"{plan.name}.trained", {"steps": made.steps, "seconds": round(made.seconds, 3)})
        return made

    def _record(self, arm: str) -> Callable[[Rows], None]:
        return epoch_recorder(self.run.folder / "tb", arm, self.run.write_metrics)

    def _clone(self, policy: Policy) -> float:
        """Imitate the demonstrations, once for all arms that do."""
        folder = self.run.folder / "checkpoints" / CLONED
        note = self.run.note(f"{CLONED}.trained")
        if note is None or not (folder / "card.json").is_file():
            assert self.game.learned is not None  # noqa: S101 - a plan clones only where there are demonstrations
            cloning = Cloning(
                CLONED,
                self.recipe.clone,
                self.recipe.seed,
                self.run.checkpoint(CLONED),
                gamma=self.recipe.train.gamma,
                fresh=is_fresh(self.start),
                strategy=self.recipe.adapt.strategy,
                normalize_returns=self.recipe.train.normalize_returns,
            )
            held_out = self.game.held_out.episodes if self.game.held_out else ()
            result = clone_policy(
                policy.network, self.game.learned.episodes, cloning, held_out=held_out, on_check=self._record(CLONED)
            )
            policy.facts["return_scale"] = dict(result.return_scale)
            save_policy(folder, policy)
            note = self.run.keep_note(f"{CLONED}.trained", {"seconds": round(result.seconds, 3)})
        kept = load_policy(folder)
        policy.network.load_state_dict(kept.network.state_dict())
        policy.facts |= kept.facts
        with self.run.noted(f"{CLONED}.trained"):
            return float(note["seconds"])

    def _play(self, made: TrainedPolicy) -> None:
        plan, policy = made.plan, made.policy
        fresh = plan.fresh or (is_fresh(self.start) and not plan.clones)
        moments = {} if fresh or plan.clones else load_moments_of(self.run.folder / START_FOLDER)
        training = PolicyTraining(
            plan.name,
            self.recipe.train,
            self.recipe.seed,
            self.run.checkpoint(plan.name),
            fresh=fresh,
            strategy="full" if fresh else self.recipe.adapt.strategy,
            terms=plan.terms,
            states=self._expert_states(policy) if plan.terms else None,
            return_scale=None if fresh else policy.facts.get("return_scale"),
            surgery=None if fresh else AfterSurgery(policy, moments),
        )
        record = self._record(plan.name)

        def on_check(rows: Rows) -> None:
            record(rows)
            if plan.name == FINE_TUNED:
                self._keep_snapshot(training.checkpoint)

        result = train_policy(policy.network, self.game.open, training, on_check)
        policy.facts["return_scale"] = dict(result.return_scale)
        AfterSurgery.finish(policy)
        made.moments = dict(result.moments)
        made.steps, made.rows = result.steps, result.rows
        made.seconds += result.seconds

    def _keep_snapshot(self, checkpoint: Path) -> None:
        """Keep the weights of each checkpoint, so that the policy can later be played as it was then."""
        if not checkpoint.is_file():
            return
        tensors, content = load_tensors(checkpoint)
        path = self.run.folder / "snapshots" / f"{content['position']['epoch']:02d}.safetensors"
        if path.is_file():
            return
        prefix = "module.policy."
        weights = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
        save_tensors(path, weights, {"step": content["position"]["step"]})

    def _expert_states(self, policy: Policy) -> StepTable:
        """Return what retention holds on to: the demonstrations, or else what the start policy does where it can play.

        Raises:
            RecipeError: There is no game that the start policy was made for.
        """
        if self._states is None:
            self._states = step_table(self._expert_episodes(policy), self.recipe.train.gamma)
        return self._states

    def _expert_episodes(self, policy: Policy) -> list[Episode]:
        wanted = self.recipe.retention.states
        if self.game.learned is not None:
            return _up_to(list(self.game.learned.episodes), wanted)
        games = list(dict.fromkeys([*self.recipe.environment.others, self.start.environment]))
        games = [game for game in games if game and game != self.recipe.environment.id] or [self.start.environment]
        if not games[0]:
            remedy = "name the games that it can play: environment.others, or give demonstrations: data.path"
            message = f"it is not known which game {self.start.name} was made for"
            raise RecipeError(message, source="retention.terms", remedy=remedy)
        progress.say(f"remembering: {self.start.name} plays {', '.join(games)}; {wanted:,} steps to hold on to")
        episodes: list[Episode] = []
        for number, game in enumerate(games):
            with self.game.open(game) as environments:
                mine = policy.shape.observations, policy.shape.actions
                if differences := space_differences(mine, (environments.observations, environments.actions)):
                    progress.say(f"note: it cannot play {game}: {differences[0].message}")
                    continue
                share = -(-wanted // len(games))
                episodes += expert_states(policy.network, environments, share, self.recipe.seed + number)
        if not episodes:  # no older game is left that it can play: what it does in this one is what there is to keep
            with self.game.open() as environments:
                episodes = expert_states(policy.network, environments, wanted, self.recipe.seed)
        return episodes


def _up_to(episodes: list[Episode], steps: int) -> list[Episode]:
    """Return whole episodes, the first ones, until there are that many steps."""
    kept, total = [], 0
    for episode in episodes:
        if total >= steps:
            break
        kept.append(episode)
        total += len(episode)
    return kept
