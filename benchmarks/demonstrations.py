"""What 5, 20 and 100 demonstrations are worth: cloning, cloning and then playing, and playing from scratch.

    python benchmarks/demonstrations.py [--quick] [--out results-demonstrations] [--levels doorkey,red-ball,go-to]
                                        [--seeds 5] [--steps 400000]

For each level and seed an expert (a planner that looks into the game) records 100 episodes; the first 5 and the first
20 of them are the smaller sets (of equal episodes only one counts, so the largest set may hold a few less). Everything
is the recipe's default: network, cloning, policy optimization, and what keeps a cloned policy from forgetting
(``cloning`` on the demonstrations). Arms:

* ``cloning``: imitates the demonstrations and never plays.
* ``cloning + playing``: goes on from there.
* ``... and nothing that keeps``: the same without the term that keeps what was cloned (with ``--plain``).
* ``scratch``: plays from random weights.

While a policy plays, it is measured at each of 16 checkpoints on the same 40 episodes, which no training sees, drawing
its actions as it learnt to. *Steps to 90 %* are those up to the first checkpoint with at least 36 successes, where that
training ends; 0 if the clone has them already. A policy that does not get there within ``--steps`` is counted as not
reached, and the median over seeds says "more than" if it falls on such a one. *After cloning* is measured on 200 other
episodes.

The whole table takes at most 3 hours on two cores (one thread a process: run two halves of the levels side by side,
with the same ``--out``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from newgameplus import progress
from newgameplus.evaluate.returns import mean_interval
from newgameplus.games.demonstrations import load_demonstrations
from newgameplus.games.environment_contract import Environments
from newgameplus.games.environments import make_environments
from newgameplus.games.episodes import Episode, step_table
from newgameplus.games.record.environment import record_environment
from newgameplus.pretrained.policy import Policy
from newgameplus.recipe_agent import AgentRecipe, RetentionTerm
from newgameplus.scenarios.agent_data import AgentGame
from newgameplus.scenarios.agent_play import play_episodes
from newgameplus.scenarios.agent_start import fresh_policy
from newgameplus.train.cloning import Cloning, clone_policy
from newgameplus.train.policy_optimization import PolicyTraining, train_policy

SIZES = (5, 20, 100)
CHECKPOINTS, WATCHED, MEASURED = 16, 40, 200
ENOUGH = 0.9
WATCHED_SEED, MEASURED_SEED, RECORDED_SEED = 1_000_000, 2_000_000, 3_000_000


@dataclass(frozen=True)
class Level:
    """A level: Gymnasium's name, and what of it the policy sees."""

    id: str
    parts: tuple[str, ...]


LEVELS = {
    "doorkey": Level("MiniGrid-DoorKey-6x6-v0", ("image", "direction")),
    "red-ball": Level("BabyAI-GoToRedBallGrey-v0", ("image", "direction")),
    "go-to": Level("BabyAI-GoToLocalS6N2-v0", ("image", "direction", "mission")),
}


class ReachedError(Exception):
    """A policy succeeds often enough."""


@dataclass(frozen=True)
class Work:
    """One training.

    Attributes:
        level: Name of the level.
        seed: Seed of everything.
        demonstrations: How many; 0 plays from scratch.
        plain: Whether nothing keeps what was cloned.
    """

    level: str
    seed: int
    demonstrations: int
    plain: bool = False

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.level}-{self.seed}-{self.demonstrations or 'scratch'}{'-plain' if self.plain else ''}"


class Bench:
    """Trains and measures, and keeps what is done.

    Args:
        out: Folder.
        steps: Most steps of a training.
        measured: Episodes that a clone is measured on.
        checkpoints: Measurements on the way.
    """

    def __init__(self, out: Path, steps: int, measured: int, checkpoints: int) -> None:
        self.out, self.steps, self.measured, self.checkpoints = out, steps, measured, checkpoints

    def recipe(self, work: Work) -> AgentRecipe:
        """Return the recipe of a training."""
        level = LEVELS[work.level]
        return AgentRecipe.model_validate(
            {
                "seed": work.seed,
                "environment": {"id": level.id, "parts": level.parts, "success": "reward"},
                "train": {"steps": self.steps, "checkpoints": self.checkpoints, "threads": 1},
            }
        )

    def recording(self, work: Work) -> Path:
        """Record the expert, once a level and seed."""
        folder = self.out / "recordings" / f"{work.level}-{work.seed}"
        if not folder.is_dir():
            level = LEVELS[work.level]
            settings = AgentRecipe.model_validate(
                {"environment": {"id": level.id, "parts": level.parts, "success": "reward"}}
            ).environment
            record_environment(settings, "expert", max(SIZES), folder, seed=RECORDED_SEED + work.seed)
        return folder

    def run(self, work: Work) -> dict[str, Any]:
        """Do one training, or return what it gave."""
        kept = self.out / "cells" / f"{work.name}.json"
        if kept.is_file():
            return json.loads(kept.read_text())
        recipe = self.recipe(work)
        with make_environments(recipe.environment, count=WATCHED) as watched:
            content = self.train(work, recipe, watched)
        keep(kept, content)
        reached = content["steps_to_enough"]
        after = content.get("after_cloning", {}).get("value")
        told = f"not reached in {self.steps:,}" if reached is None else f"{reached:,} steps"
        progress.say(f"{work.name}: {'' if after is None else f'{after:.2f} after cloning, '}{told}")
        return content

    def train(self, work: Work, recipe: AgentRecipe, watched: Environments) -> dict[str, Any]:
        """Clone if there is something to clone, then play until enough is reached."""
        policy = fresh_policy(recipe, AgentGame(recipe.environment, watched.observations, watched.actions))
        folder = self.out / "checkpoints" / work.name
        folder.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"level": work.level, "seed": work.seed, "demonstrations": work.demonstrations}
        content["plain"] = work.plain
        training: dict[str, Any] = {"fresh": True}
        curve: list[tuple[int, float]] = []
        if work.demonstrations:
            found = load_demonstrations(
                self.recording(work), observations=watched.observations, actions=watched.actions
            )
            episodes = list(found.episodes[: work.demonstrations])
            training = self.clone(policy, recipe, episodes, folder)
            training |= {"terms": ()} if work.plain else {}
            content |= {
                "episodes": len(episodes),
                "demonstrated_steps": sum(map(len, episodes)),
                "after_cloning": self.measure(policy, watched).as_dict(),
            }
            curve.append((0, self.watch(policy, watched)))
        if not curve or curve[0][1] < ENOUGH:
            self.play(policy, recipe, training, folder, watched, curve)
        reached = [step for step, share in curve if share >= ENOUGH]
        return content | {"curve": curve, "steps_to_enough": reached[0] if reached else None, "steps": self.steps}

    def clone(self, policy: Policy, recipe: AgentRecipe, episodes: list[Episode], folder: Path) -> dict[str, Any]:
        """Imitate; return what the training that follows must know."""
        cloning = Cloning("cloned", recipe.clone, recipe.seed, folder / "cloned.safetensors", fresh=True, threads=1)
        result = clone_policy(policy.network, episodes, cloning)
        return {
            "fresh": False,
            "terms": (RetentionTerm(kind="cloning"),),
            "states": step_table(episodes, recipe.train.gamma),
            "return_scale": dict(result.return_scale),
        }

    def play(
        self,
        policy: Policy,
        recipe: AgentRecipe,
        training: dict[str, Any],
        folder: Path,
        watched: Environments,
        curve: list[tuple[int, float]],
    ) -> None:
        """Let the policy play and measure it at each checkpoint, until it succeeds often enough."""
        path = folder / "played.safetensors"
        path.unlink(missing_ok=True)  # a training that was cut off begins anew, with its curve
        seen = 0

        def on_check(rows: list[dict[str, Any]]) -> None:
            nonlocal seen
            saved = path.stat().st_mtime_ns if path.is_file() else 0
            if saved == seen:
                return  # told between two checkpoints
            seen = saved
            step = rows[-1]["step"]
            curve.append((step, self.watch(policy, watched)))
            if curve[-1][1] >= ENOUGH:
                raise ReachedError

        arm = "scratch" if training["fresh"] else "played"
        plan = PolicyTraining(arm, recipe.train, recipe.seed, path, **training)
        try:
            train_policy(policy.network, lambda: make_environments(recipe.environment), plan, on_check)
        except ReachedError:
            return

    def watch(self, policy: Policy, watched: Environments) -> float:
        """Return the share of successes in the same few episodes."""
        found = play_episodes(policy, watched, WATCHED, WATCHED_SEED)
        return float(np.mean(found.totals > 0))

    def measure(self, policy: Policy, watched: Environments) -> Any:
        """Return the share of successes in many episodes, with its interval."""
        found = play_episodes(policy, watched, self.measured, MEASURED_SEED)
        return mean_interval((found.totals > 0).astype(float))


def keep(path: Path, content: Any) -> None:
    """Write JSON whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)


def table(cells: list[dict[str, Any]], steps: int) -> str:
    """Return the table as markdown: successes over seeds with intervals, medians of steps."""
    lines = [
        "| level | demonstrations | seeds | success after cloning (95 %) | steps to 90 %, median | each seed "
        "| last measured |",
        "|---|---|---|---|---|---|---|",
    ]
    for level in dict.fromkeys(cell["level"] for cell in cells):
        for size, plain in [(size, plain) for size in (*SIZES, 0) for plain in (False, True)]:
            wanted = (level, size, plain)
            found = [c for c in cells if (c["level"], c["demonstrations"], c.get("plain", False)) == wanted]
            if not found:
                continue
            after = "-"
            if size:
                values = [cell["after_cloning"]["value"] for cell in found]
                interval = mean_interval(values)
                low, high = max(0.0, interval.low), min(1.0, interval.high)
                after = f"{interval.value:.2f} ({low:.2f} to {high:.2f})"
            reached = [cell["steps_to_enough"] for cell in found]
            middle = statistics.median_high([step if step is not None else 10**12 for step in reached])
            told = f"more than {steps:,}" if middle == 10**12 else f"{middle:,}"
            each = ", ".join("not reached" if step is None else f"{step:,}" for step in reached)
            last = statistics.fmean(cell["curve"][-1][1] for cell in found)
            name = f"{size or 'none (scratch)'}{', nothing that keeps' if plain else ''}"
            lines.append(
                f"| {LEVELS[level].id} | {name} | {len(found)} | {after} | {told} | {each} | {100 * last:.0f} % |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it works; its table says nothing")
    parser.add_argument("--out", type=Path, default=Path("results-demonstrations"))
    parser.add_argument("--levels", default=",".join(LEVELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="also play on without what keeps what was cloned")
    parser.add_argument("--steps", type=int, default=400_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    out: Path = arguments.out.resolve() / ("quick" if arguments.quick else "")
    levels, seeds = arguments.levels.split(","), arguments.seeds
    bench = Bench(out, arguments.steps, MEASURED, CHECKPOINTS)
    sizes: tuple[int, ...] = (*SIZES, 0)
    if arguments.quick:
        levels, seeds, bench, sizes = levels[:1], 1, Bench(out, 8_192, WATCHED, 2), (5, 0)
    works = [Work(level, seed, size) for seed in range(seeds) for level in levels for size in sizes]
    if arguments.plain:
        works += [replace(work, plain=True) for work in works if work.demonstrations]
    cells = [bench.run(work) for work in works]
    keep(out / "demonstrations.json", cells)
    print(table(cells, bench.steps))


if __name__ == "__main__":
    main()
