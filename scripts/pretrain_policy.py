"""Make ``bundled:minigrid``: imitate a planner in several games of MiniGrid, then play them to get better.

    python scripts/pretrain_policy.py [--out build/policy] [--steps 600000] [--episodes 60]

The planner (:mod:`newgameplus.games.record.minigrid_expert`) looks into the games and is the only teacher: no weights,
recordings or demonstrations of others. The policy sees what a player of MiniGrid sees, 7 x 7 cells ahead and its own
direction, but not the mission. The games that the demo and the benchmarks fine-tune on (see ``HELD_OUT``) are none of
those it learns here. Everything is a function of ``--seed``; the result goes to
``src/newgameplus/pretrained/weights/policies/minigrid``. MiniGrid is Apache-2.0.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gymnasium
import minigrid  # noqa: F401 - registers the games

from newgameplus.evaluate.agent_tables import agent_table
from newgameplus.finetune import fit, resume
from newgameplus.games.record.environment import record_environment
from newgameplus.pretrained.policy import Policy, load_policy, save_policy
from newgameplus.recipe_agent import (
    AgentDataSettings,
    AgentEvaluateSettings,
    AgentModelSettings,
    AgentRecipe,
    AgentTrainSettings,
    EnvironmentSettings,
)
from newgameplus.run import Run, read_json

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "src" / "newgameplus" / "pretrained" / "weights" / "policies" / "minigrid"
GAMES = (
    "MiniGrid-DoorKey-5x5-v0",
    "MiniGrid-DoorKey-6x6-v0",
    "MiniGrid-Empty-Random-6x6-v0",
    "MiniGrid-FourRooms-v0",
    "MiniGrid-SimpleCrossingS9N1-v0",
    "MiniGrid-SimpleCrossingS9N2-v0",
    "MiniGrid-LavaCrossingS9N1-v0",
)
HELD_OUT = ("MiniGrid-Unlock-v0", "MiniGrid-UnlockPickup-v0", "MiniGrid-DoorKey-8x8-v0", "MiniGrid-LavaCrossingS9N2-v0")
PARTS = ("direction", "image")


class Mixture(gymnasium.Env[Any, Any]):
    """Several games with the same spaces; each episode is of one of them, drawn at random."""

    def __init__(self, games: tuple[str, ...] = GAMES) -> None:
        self.games = [gymnasium.make(game).unwrapped for game in games]
        self.current: Any = self.games[0]
        self.observation_space = self.current.observation_space
        self.action_space = self.current.action_space
        self.action_names = tuple(action.name for action in self.current.actions)
        self.observation_names = {"image": ("object", "color", "state"), "direction": ("direction",)}
        self.observation_codes = {"image": (11, 6, 3)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw a game and begin it."""
        super().reset(seed=seed)
        self.current = self.games[int(self.np_random.integers(len(self.games)))]
        return self.current.reset(seed=int(self.np_random.integers(2**31)))  # type: ignore[no-any-return]

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play on."""
        seen, reward, over, cut, info = self.current.step(action)
        return seen, reward, over, cut, info | {"success": bool(over and reward > 0)}


def make_mixture() -> Mixture:
    """Make the mixture; ``environment.id: pretrain_policy.py:make_mixture``."""
    return Mixture()


def _demonstrations(folder: Path, episodes: int, seed: int) -> None:
    for number, game in enumerate(GAMES):
        place = folder / game
        if not place.exists():
            settings = EnvironmentSettings(id=game, parts=PARTS)
            record_environment(settings, "expert", episodes, place, seed=seed + 1000 * number)


def main() -> None:
    """Record, imitate, play, and write the weights and their log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "policy")
    parser.add_argument("--steps", type=int, default=600_000)
    parser.add_argument("--episodes", type=int, default=60, help="of the planner, in each game")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    _demonstrations(arguments.out / "demos", arguments.episodes, arguments.seed)
    recipe = AgentRecipe(
        name="minigrid",
        seed=arguments.seed,
        environment=EnvironmentSettings(
            id=f"{Path(__file__).resolve()}:make_mixture", parts=PARTS, others=GAMES, count=32
        ),
        data=AgentDataSettings(path=str(arguments.out / "demos"), test=0.1),
        model=AgentModelSettings(
            features=128, actor=(64,), critic=(64,), activation="relu", options={"channels": [16, 32]}
        ),
        train=AgentTrainSettings(steps=arguments.steps, learning_rate=5e-4, batch_size=1024, entropy=0.005),
        evaluate=AgentEvaluateSettings(baselines=("cloning",), episodes=100),
    )
    folder = arguments.out / "run"
    run = resume(folder) if folder.exists() and not Run.open(folder).finished else None
    run = run or (Run.open(folder) if folder.exists() else fit(recipe, folder))
    _publish(run, arguments.target, arguments.seed)


def _publish(run: Run, target: Path, seed: int) -> None:
    policy = load_policy(run.model_folder)
    evaluation = read_json(run.folder / "evaluation.json")
    arm = evaluation["arms"][0]
    facts = {
        "license": "Apache-2.0",
        "description": "imitated our planner in seven games of MiniGrid, then played them; sees no mission",
        "games": list(GAMES),
        "held_out": list(HELD_OUT),
        "seed": seed,
        "success": {
            "all seven, mixed" if game.endswith("make_mixture") else game: row["success"]
            for game, row in arm["games"].items()
        },
        "script": "scripts/pretrain_policy.py",
    }
    save_policy(target, Policy("bundled:minigrid", policy.network, GAMES[1], facts))
    log = ROOT / "scripts" / "pretrain_policy.log.jsonl"
    kept = ({key: value for key, value in row.items() if key not in ("totals", "successes")} for row in run.metrics())
    log.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    print(agent_table(evaluation))


if __name__ == "__main__":
    main()
