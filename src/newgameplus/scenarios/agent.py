"""Game AI: a policy that gets better and does not forget. Wires the four steps for games that are played."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from newgameplus import progress
from newgameplus.adapt.surgery_training import load_moments_of, save_moments
from newgameplus.choose import Choice
from newgameplus.errors import RunError
from newgameplus.evaluate.agent_arms import AGENT_ARM_TITLES
from newgameplus.pretrained.policy import Policy, save_policy
from newgameplus.recipe import recipe_settings
from newgameplus.recipe_agent import RetentionTerm
from newgameplus.recipe_start import AUTO
from newgameplus.run import Run
from newgameplus.scenarios.agent_choice import choose_agent_start, start_of
from newgameplus.scenarios.agent_data import AgentGame, agent_recipe, load_agent_game
from newgameplus.scenarios.agent_evaluation import AgentResults, evaluate_agents
from newgameplus.scenarios.agent_start import is_fresh, load_start, retention_of
from newgameplus.scenarios.agent_training import FINE_TUNED, START_FOLDER, AgentPlan, AgentTrainer, TrainedPolicy

__all__ = ["AGENT_ARMS", "AgentScenario"]

#: Baselines that a recipe may name, and what they are.
AGENT_ARMS = MappingProxyType(
    {
        "start": "the policy that fine-tuning started from, as it came",
        "scratch": "the same network from random weights, with the same number of steps of the game",
        "plain": "fine-tuning that keeps nothing: the same start and steps, no retention",
        "cloning": "the start after imitating the demonstrations, without playing",
    }
)


@dataclass(frozen=True, eq=False)
class AgentStart:
    """What fine-tuning starts from.

    Attributes:
        policy: The start policy; it is never trained itself.
        terms: What keeps a copy of it from forgetting.
    """

    policy: Policy
    terms: tuple[RetentionTerm, ...]


class AgentScenario:
    """The four steps for games that are played. Each is a method; :mod:`newgameplus.finetune` calls them in order.

    Args:
        run: The run folder to work in; its recipe says everything.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.recipe = run, agent_recipe(run)
        self.skipped: dict[str, str] = {}

    def load(self) -> AgentGame:
        """Open the game, read the demonstrations, and see that both are what the run began with."""
        if (self.run.folder / "surgery.json").is_file():
            message = "this policy was made by surgery: there is no training to resume, and nothing is overwritten"
            remedy = f"train from it into a folder of its own: ngp fit RECIPE --from run:{self.run.quoted}"
            raise RunError(message, source=str(self.run.folder), remedy=remedy)
        before = self.run.note("data")
        settings = json.loads(json.dumps(recipe_settings(self.recipe)))
        if before is not None:
            with self.run.noted("data"):
                known = dict(before["recipe"])
            self._refuse_changes([key for key in {**known, **settings} if known.get(key) != settings.get(key)])
        game = load_agent_game(self.recipe)
        now = json.loads(json.dumps(game.fingerprint()))
        if before is None:
            self.run.keep_note("data", {**now, "recipe": settings})
        else:
            words = {"learned": "demonstrations", "held_out": "demonstrations"}
            changed = [words.get(key, f"{key} of the game") for key in now if before.get(key) != now[key]]
            self._refuse_changes(list(dict.fromkeys(changed)))
        shown = f"; {len(game.learned.episodes)} demonstrations to learn from" if game.learned else ""
        progress.say(f"game: {self.recipe.environment.id}{shown}")
        return game

    def _refuse_changes(self, changed: list[str]) -> None:
        if changed:
            message = f"this run began with other {', '.join(changed)}"
            remedy = "put them back as they were, or fit again into another folder"
            raise RunError(message, source=str(self.run.folder), remedy=remedy)

    def choose(self, game: AgentGame) -> AgentStart:
        """Step 1: load what the recipe starts from; refuse one of other spaces, with the surgery that would mend it."""
        self.recipe = start_of(self.recipe, self._chosen(game))
        policy = load_start(self.recipe, game)
        terms = retention_of(self.recipe, game, policy)
        progress.say(f"1 choose: {policy.name}, {policy.parameters:,} weights")
        if not is_fresh(policy):
            folder = self.run.folder / START_FOLDER
            save_policy(folder, policy)
            before = Path(policy.name.removeprefix("run:")) / "model"
            save_moments(folder, load_moments_of(before))
        return AgentStart(policy, terms)

    def _chosen(self, game: AgentGame) -> str:
        """Return the one name, or the best of several; a run chooses once."""
        names = self.recipe.model.candidates
        if len(names) == 1 and names[0] != AUTO:
            return names[0]
        note = self.run.note("choice")
        if note is None:
            note = self.run.keep_note("choice", choose_agent_start(self.recipe, game).as_dict())
        with self.run.noted("choice"):
            choice = Choice.from_dict(note)
        progress.say(f"1 choose: {choice.reason}")
        return choice.name

    def adapt(self, start: AgentStart) -> list[AgentPlan]:
        """Step 2: plan what may move and what holds it, for the fine-tuned policy and for the baselines."""
        recipe, wanted = self.recipe, self.recipe.evaluate.baselines
        clones, plays = recipe.data.path is not None, recipe.train.steps > 0
        plans = [AgentPlan(FINE_TUNED, clones=clones, plays=plays, terms=start.terms)]
        fresh = is_fresh(start.policy)
        possible = {
            "start": AgentPlan("start"),
            "scratch": AgentPlan("scratch", fresh=True, plays=True),
            "plain": AgentPlan("plain", clones=clones, plays=plays),
            "cloning": AgentPlan("cloning", clones=True),
        }
        reasons = {
            "start": "the start is untrained" if fresh else "",
            "scratch": "" if plays and (clones or not fresh) else "it would be the fine-tuned policy itself",
            "plain": "" if plays and start.terms else "nothing was retained anyway",
            "cloning": ""
            if clones and plays
            else "there are no demonstrations"
            if not clones
            else "nothing else was done",
        }
        for name, plan in possible.items():
            why = "not asked for in the recipe" if name not in wanted else reasons[name]
            if why:
                self.skipped[name] = why
            else:
                plans.append(plan)
        kept = ", ".join(term.kind for term in start.terms) or "nothing"
        progress.say(f"2 adapt: {recipe.adapt.strategy}; retention: {kept}; beside it: {_titles(plans[1:])}")
        return plans

    def train(self, game: AgentGame, start: AgentStart, plans: list[AgentPlan]) -> list[TrainedPolicy]:
        """Step 3: train every plan; the fine-tuned policy goes to ``model/``, baselines to ``checkpoints/``."""
        trainer = AgentTrainer(self.run, game, start.policy, self.recipe)
        return [trainer.train(plan) for plan in plans]

    def evaluate(self, game: AgentGame, start: AgentStart, trained: list[TrainedPolicy]) -> dict[str, Any]:
        """Step 4: let every policy play every game, and write evaluation and report."""
        results = AgentResults(self.run, game, trained, start.terms, self.skipped)
        return evaluate_agents(results)


def _titles(plans: list[AgentPlan]) -> str:
    return ", ".join(AGENT_ARM_TITLES.get(plan.name, plan.name) for plan in plans) or "nothing"
