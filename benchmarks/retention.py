"""Retention: what fine-tuning forgets, and what keeps it, in three settings after Wolczyk et al. 2024.

    python benchmarks/retention.py [--quick] [--out results-retention] [--seeds 5] [--jobs 2] [--settings coverage,...]

- *coverage*: a state-coverage gap. A policy can cross the last of three rooms (``retention_games.py``) and is then
  started in the first, whose controls it does not know.
- *cloning*: an imperfect cloning gap. The start is a weak clone of a good expert: a planner's 600 recordings, four of
  five of which begin in the last room, imitated for a while.
- *patched*: a policy of MinAtar's Breakout meets Breakout upside down with left for right.

Arms, each from the same start with the same steps: from scratch, plain fine-tuning, and one retention term each with
its ``auto`` weight: EWC, L2-SP, cloning (the default recipe's), kickstarting, memory. *Old* is the skill of the start
(share of successes when begun in the last room; return in the old Breakout), *kept* its share of the start's, above
random; *new* the mean return in the new game. Both are measured on games that no training played. Intervals: t over
seeds.

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the tables of
docs/benchmarks/retention.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from newgameplus.files import write_bytes, write_json
from newgameplus.games.environments import make_environments
from newgameplus.games.episodes import Episode, step_table
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.recipe_agent import AgentTrainSettings, CloneSettings, EnvironmentSettings, RetentionTerm
from newgameplus.scenarios.agent_play import play_episodes
from newgameplus.train.cloning import Cloning, clone_policy
from newgameplus.train.policy_optimization import PolicyTraining, train_policy
from newgameplus.train.rollout import expert_states

HERE = Path(__file__).resolve().parent
GAMES = HERE / "retention_games.py"
ROOMS = ["turned", "back", "plain"]
ARMS = ("scratch", "plain", "ewc", "l2-sp", "cloning", "kickstarting", "memory")
DEFAULT = "cloning"
FIRST_SEED = 10  # seeds below were looked at while the settings were made
PLAYED = 192


@dataclass(frozen=True)
class Setting:
    """One way to forget.

    Attributes:
        name: For tables and folders.
        old: The game in which the old skill is measured.
        new: The game that is learned.
        shape: How the network is built, but for its spaces.
        train: Settings of every training.
        pretrain: Steps of the start's own training; 0 imitates demonstrations instead.
        demonstrations: Episodes of the expert, where the start imitates.
    """

    name: str
    old: EnvironmentSettings
    new: EnvironmentSettings
    shape: dict[str, Any]
    train: dict[str, Any]
    pretrain: int
    demonstrations: int = 0


def expedition(start: int) -> EnvironmentSettings:
    """Return the rooms, begun in one of them."""
    options = {"rooms": ROOMS, "start": start}
    return EnvironmentSettings(id=f"{GAMES}:expedition", options=options, count=16, success="success")


ROOM_TRAINING = {"rollout": 64, "batch_size": 256, "learning_rate": 1e-3, "entropy": 0.02}
ROOM_SHAPE = {"normalize": False}
SETTINGS = {
    "coverage": Setting("coverage", expedition(2), expedition(0), ROOM_SHAPE, ROOM_TRAINING, 150_000),
    "cloning": Setting("cloning", expedition(2), expedition(0), ROOM_SHAPE, ROOM_TRAINING, 0, 600),
    "patched": Setting(
        "patched",
        EnvironmentSettings(id="MinAtar/Breakout-v1", count=64, time_limit=1000),
        EnvironmentSettings(id=f"{GAMES}:upside_down", count=64, time_limit=1000),
        {"encoder": "small-cnn", "actor": (), "critic": (), "activation": "relu"},
        {"rollout": 64, "batch_size": 512, "learning_rate": 2e-3, "entropy": 0.01},
        300_000,
    ),
}
STEPS = {"coverage": 200_000, "cloning": 200_000, "patched": 200_000}


def demonstrate(episodes: int, seed: int) -> list[Episode]:
    """Let the planner play; four of five recordings are of the last room only, as recordings of late play are."""
    from retention_games import Expedition

    found = []
    for number in range(episodes):
        game = Expedition(tuple(ROOMS), start=0 if number % 5 == 0 else 2)
        seen, _ = game.reset(seed=seed * 10_000 + number)
        rows, actions, rewards, over = [seen], [], [], False
        while not over:
            action = game.expert()
            seen, reward, ended, cut, _ = game.step(action)
            rows.append(seen)
            actions.append(action)
            rewards.append(reward)
            over = ended or cut
        observations = {"observation": np.array(rows, np.float32)}
        found.append(Episode(observations, np.array(actions), np.array(rewards, np.float32), True, group=str(number)))
    return found


def score(network: PolicyNetwork | None, settings: EnvironmentSettings, success: bool, episodes: int = PLAYED) -> float:
    """Return the mean return, or the share of successes, over games that no training played."""
    with make_environments(settings, count=64) as environments:
        policy = None if network is None else Policy("benchmark", network)
        played = play_episodes(policy, environments, episodes, 900_001)
    return float(played.successes.mean() if success and played.successes is not None else played.totals.mean())


def new_network(setting: Setting, seed: int) -> PolicyNetwork:
    """Return random weights."""
    with make_environments(setting.new, count=1) as environments:
        shape = PolicyShape(environments.observations, environments.actions, **setting.shape)
    torch.manual_seed(seed)
    return PolicyNetwork(shape)


def make_start(setting: Setting, seed: int, folder: Path, scale: float) -> dict[str, Any]:
    """Make the start policy of a seed, or take it from an earlier try; keep what it measures."""
    path = folder / "start.json"
    network = new_network(setting, seed)
    training = AgentTrainSettings(steps=round(setting.pretrain * scale), **setting.train)
    if setting.pretrain:
        plan = PolicyTraining("start", training, seed, folder / "start.safetensors", fresh=True)
        made = train_policy(network, lambda: make_environments(setting.old), plan)
        episodes = _expert_episodes(setting, network, seed)
    else:
        episodes = demonstrate(setting.demonstrations, seed)
        clone = CloneSettings(epochs=max(1, round(20 * scale)))
        made = clone_policy(
            network, episodes, Cloning("start", clone, seed, folder / "start.safetensors", fresh=True, gamma=0.99)
        )
    success = setting.name != "patched"
    if not path.is_file():
        measured = {
            "old": score(network, setting.old, success),
            "new": score(network, setting.new, False),
            "random_old": score(None, setting.old, success),
            "random_new": score(None, setting.new, False),
        }
        write_json(path, measured)
    return {"network": network, "episodes": episodes, "scale": made.return_scale} | json.loads(path.read_text())


def _expert_episodes(setting: Setting, network: PolicyNetwork, seed: int) -> list[Episode]:
    with make_environments(setting.old) as environments:
        return expert_states(network, environments, 10_000, seed)


def run_seed(name: str, seed: int, out: str, scale: float) -> None:
    """Train all arms of one setting and seed that are not there yet."""
    torch.set_num_threads(1)
    sys.path.insert(0, str(HERE))
    setting, folder = SETTINGS[name], Path(out) / name / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [arm for arm in ARMS if not (folder / f"{arm}.json").is_file()]
    if not missing:
        return
    start = make_start(setting, seed, folder, scale)
    for arm in missing:
        write_json(folder / f"{arm}.json", run_arm(setting, seed, folder, arm, start, scale))
        (folder / f"{arm}.safetensors").unlink(missing_ok=True)
        print(f"{name}, seed {seed}: {arm}", file=sys.stderr, flush=True)


def run_arm(setting: Setting, seed: int, folder: Path, arm: str, start: dict[str, Any], scale: float) -> dict[str, Any]:
    """Train one arm, and measure old and new as it goes."""
    fresh = arm == "scratch"
    network = new_network(setting, 1000 + seed) if fresh else copy.deepcopy(start["network"])
    terms = () if arm in ("scratch", "plain") else (RetentionTerm(kind=arm),)
    plan = PolicyTraining(
        arm,
        AgentTrainSettings(steps=round(STEPS[setting.name] * scale), **setting.train),
        seed,
        folder / f"{arm}.safetensors",
        fresh=fresh,
        terms=terms,
        states=step_table(start["episodes"], 0.99) if terms else None,
        return_scale=None if fresh else start["scale"],
    )
    success, curve = setting.name != "patched", []

    def watch(rows: list[dict[str, Any]]) -> None:
        step = rows[-1]["step"] if rows else 0
        if step and (not curve or step > 1.5 * curve[-1]["step"]):
            curve.append({"step": step, "old": score(network, setting.old, success, 64)})

    began = time.process_time()
    result = train_policy(network, lambda: make_environments(setting.new), plan, watch)
    rows = [{key: row[key] for key in ("step", "return", "success") if key in row} for row in result.rows]
    return {
        "old": score(network, setting.old, success),
        "new": score(network, setting.new, False),
        "seconds": round(time.process_time() - began, 1),
        "curve": curve,
        "rows": rows,
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and half width of a 95 % t interval."""
    if len(values) < 2:
        return statistics.fmean(values), math.nan
    spread = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), spread


def text(values: Sequence[float], digits: int = 2) -> str:
    """Write mean and interval."""
    mean, half = interval(values)
    return f"{mean:.{digits}f} ± {half:.{digits}f}" if not math.isnan(half) else f"{mean:.{digits}f}"


def collect(out: Path, names: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Read what is there."""
    found: dict[str, Any] = {}
    for name in names:
        for seed in seeds:
            folder = out / name / str(seed)
            paths = {arm: folder / f"{arm}.json" for arm in ARMS}
            if (folder / "start.json").is_file() and any(path.is_file() for path in paths.values()):
                start = json.loads((folder / "start.json").read_text())
                arms = {arm: json.loads(path.read_text()) for arm, path in paths.items() if path.is_file()}
                found.setdefault(name, {})[str(seed)] = {"start": start, "arms": arms}
    return found


def table(name: str, seeds: dict[str, Any]) -> list[str]:
    """Return the table of one setting, and what it says about the aims."""
    starts = [one["start"] for one in seeds.values()]
    lines = [
        f"**{name}** ({len(seeds)} seeds): the start's old skill {text([s['old'] for s in starts])} "
        f"(random {text([s['random_old'] for s in starts])}), new {text([s['new'] for s in starts])}",
        "",
        "| arm | old skill | kept | lowest kept on the way | new | new, above plain | s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    kept: dict[str, list[float]] = {}
    new: dict[str, list[float]] = {}
    for arm in ARMS:
        rows = [
            (one["start"], one["arms"][arm], one["arms"].get("plain")) for one in seeds.values() if arm in one["arms"]
        ]
        if not rows:
            continue

        def share(start: dict[str, Any], old: float) -> float:
            skill = start["old"] - start["random_old"]
            return (old - start["random_old"]) / skill if skill > 0.05 else math.nan

        kept[arm] = [share(start, found["old"]) for start, found, _ in rows]
        new[arm] = [found["new"] for _, found, _ in rows]
        lowest = [min(share(start, point["old"]) for point in found["curve"]) for start, found, _ in rows]
        gain = [found["new"] - plain["new"] for _, found, plain in rows if plain is not None]
        lines.append(
            f"| {arm}{' (default)' if arm == DEFAULT else ''} | {text([f['old'] for _, f, _ in rows])} | "
            f"{text(kept[arm])} | {text(lowest)} | {text(new[arm])} | {'' if arm == 'plain' else text(gain)} | "
            f"{statistics.fmean(f['seconds'] for _, f, _ in rows):.0f} |"
        )
    return [*lines, "", *_aims(kept, new), ""]


def _aims(kept: dict[str, list[float]], new: dict[str, list[float]]) -> list[str]:
    if DEFAULT not in kept or "plain" not in kept:
        return []
    mean, half = interval(kept["plain"])
    best = max((arm for arm in new), key=lambda arm: statistics.fmean(new[arm]))
    top, width = interval(new[best])
    mine, retained = statistics.fmean(new[DEFAULT]), statistics.fmean(kept[DEFAULT])
    low = top - (0.0 if math.isnan(width) else width)
    failing = [arm for arm in kept if arm not in ("scratch", "plain") and statistics.fmean(kept[arm]) < 0.9]
    stuck = [arm for arm in new if arm != "scratch" and statistics.fmean(new[arm]) < low]
    return [
        f"Aims: plain fine-tuning's loss is visible: {'yes' if mean + (half or 0) < 1.0 else 'NO'} (kept {mean:.2f}); "
        f"the default keeps 90 %: {'yes' if retained >= 0.9 else 'NO'} ({retained:.2f}); "
        f"and reaches the best arm's new score within its interval: {'yes' if mine >= low else 'NO'} "
        f"({mine:.2f}; best: {best}, {text(new[best])}). "
        f"Keep less than 90 %: {', '.join(failing) or 'none'}; below the best arm's interval in the new game: "
        f"{', '.join(stuck) or 'none'}.",
    ]


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes that still run everything: does it run?")
    parser.add_argument("--out", type=Path, default=Path("results-retention"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--settings", default=",".join(SETTINGS))
    arguments = parser.parse_args()
    out = (arguments.out / "quick" if arguments.quick else arguments.out).resolve()
    scale = 0.02 if arguments.quick else 1.0
    count = 1 if arguments.quick else arguments.seeds
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    names = arguments.settings.split(",")
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for work in [pool.submit(run_seed, name, seed, str(out), scale) for seed in seeds for name in names]:
            work.result()
    found = collect(out, names, seeds)
    lines = [line for name in names if name in found for line in table(name, found[name])]
    print("\n".join(lines))
    for seeds_of in found.values():
        for one in seeds_of.values():
            for arm in one["arms"].values():
                arm["rows"] = arm["rows"][::10]  # the learning curve, thinned
    content = json.dumps({"settings": found, "steps": STEPS, "scale": scale}) + "\n"
    target = out / "retention.json" if arguments.quick else HERE / "results" / "retention.json"
    write_bytes(target, content.encode())


if __name__ == "__main__":
    main()
