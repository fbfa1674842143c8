"""Patch day: a game's spaces change. What does a policy keep, and how fast is it as good as can be in the new game?

    python benchmarks/patch_day.py [--quick] [--out results-patch-day] [--seeds 3] [--games arena,breakout,minigrid]

- *arena*: ``ngp/Arena-v0``. Features in another order and four new ones, actions in another order and three new ones
  (drink, kick, dash), and a stronger enemy.
- *breakout*: MinAtar's Breakout with a laser (``patch_day_games.py``): channels in another order and a new one, actions
  in another order and a new one.
- *minigrid*: ``bundled:minigrid`` after an update of MiniGrid (``patch_day_games.py``): object codes renumbered around
  two new kinds, a new color, channels in another order, a new vector, actions in another order and a new one; and the
  levels are now Unlock's, on which the policy was never trained.

*Proof*: largest differences of logits and values between the old policy and the operated one on what the old policy saw
in its own game, exact (float64) and as played (float32), for the new spaces, and for new spaces and a wider (and, where
that is exact, deeper) network at once. *Step 0*: both play the same episodes, the old one in the old spaces of the same
game; with the likeliest actions these must be equal episode by episode, and as they draw their actions up to the 1 % of
each new action.

*Arms*, trained in the patched game with the same settings and steps: surgery (moments carried), surgery with the wider
network, load what fits and begin anew with the rest, from scratch (network of the same shape as surgery's). After each
tenth of the steps all play the same games, which no training played. The new optimum is the highest final score, mean
over the seeds, of any arm; told is after how many steps an arm first measured 95 % of it, counted from random play.

*Stable-Baselines3*: a PPO policy of the old spaces is saved there, and loaded with the new game; told is what happens.

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Intervals: t over seeds.
Prints the tables of docs/benchmarks/patch_day.md.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from newgameplus.adapt.surgery import load_what_fits, operate, plan_surgery, prove
from newgameplus.adapt.surgery_moments import carry_moments
from newgameplus.adapt.surgery_observations import convert_observations, representable
from newgameplus.adapt.surgery_plan import SurgeryPlan
from newgameplus.adapt.surgery_training import AfterSurgery
from newgameplus.evaluate.agent_arms import PlayedEpisodes
from newgameplus.files import write_bytes, write_json
from newgameplus.games.environment_making import describe_spaces, make_copy
from newgameplus.games.environments import make_environments
from newgameplus.games.episodes import step_table
from newgameplus.pretrained.policy import Policy, as_tensors
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.pretrained.policy_sources import load_policy_source
from newgameplus.recipe_agent import AgentTrainSettings, EnvironmentSettings
from newgameplus.scenarios.agent_play import Handicap, play_episodes
from newgameplus.train.policy_optimization import PolicyTraining, train_policy
from newgameplus.train.rollout import expert_states

HERE = Path(__file__).resolve().parent
GAMES = HERE / "patch_day_games.py"
ARMS = ("surgery", "wider", "fits", "scratch")
TITLES = {
    "surgery": "surgery",
    "wider": "surgery, wider network",
    "fits": "load what fits",
    "scratch": "from scratch",
}
FIRST_SEED = 20  # seeds below were looked at while the settings were made
STATES, PLAYED_SEED, NEAR = 2_000, 900_001, 0.95


@dataclass(frozen=True)
class Patch:
    """A game before and after.

    Attributes:
        pairs: The same game in its old and in its new spaces; the first is the one of before, the last is trained in.
        changes: For the table.
        shape: How the old policy's network is built; empty takes ``source``.
        wider: New widths.
        train: Settings of every training.
        pretrain: Steps of the old policy's training.
        steps: Steps in the patched game.
        played: Episodes of one measurement after each tenth; four times as many at step 0 and at the end.
        map_observations: What names do not say.
        source: Where the old policy comes from, if it is not trained here.
        lessened: Spaces without some features, to measure what holding them constant costs.
    """

    pairs: tuple[tuple[EnvironmentSettings, EnvironmentSettings], ...]
    changes: str
    wider: dict[str, list[int]]
    train: dict[str, Any]
    steps: int
    played: int
    shape: dict[str, Any] = field(default_factory=dict)
    pretrain: int = 0
    map_observations: str = ""
    source: str = ""
    lessened: EnvironmentSettings | None = None

    @property
    def before(self) -> EnvironmentSettings:
        """The game that the old policy was trained in."""
        return self.pairs[0][0]

    @property
    def after(self) -> EnvironmentSettings:
        """The patched game."""
        return self.pairs[-1][1]


def arena(*, patched: bool, harder: bool, without: Sequence[str] = ()) -> EnvironmentSettings:
    """Return the fight of before or after."""
    options: dict[str, Any] = {"rules": {"enemy_hp": 300.0, "enemy_damage": 75.0}} if harder else {}
    if patched:
        features = ["potions", "enemy_distance", "enemy_raised", "hp", "stamina", "mana", "in_reach", "time"]
        features += ["enemy_stunned", "enemy_hp", "last_damage"]
        options["features"] = [name for name in features if name not in without]
        options["actions"] = ["kick", "guard", "wait", "drink", "advance", "cast", "strike", "retreat", "dash"]
    return EnvironmentSettings(id="ngp/Arena-v0", options=options, count=32)


def minigrid(level: str, *, patched: bool) -> EnvironmentSettings:
    """Return a level of MiniGrid of before or after the update."""
    limits = {"MiniGrid-Unlock-v0": 288, "MiniGrid-DoorKey-6x6-v0": 360}
    if patched:
        return EnvironmentSettings(
            id=f"{GAMES}:grown_doorkey", options={"game": level}, count=32, time_limit=limits[level], success="reward"
        )
    return EnvironmentSettings(id=level, parts=["direction", "image"], count=32, success="reward")


_BREAKOUT = (
    EnvironmentSettings(id="MinAtar/Breakout-v1", count=64, time_limit=500),
    EnvironmentSettings(id=f"{GAMES}:laser_breakout", count=64, time_limit=500),
)
PATCHES = {
    "arena": Patch(
        (
            (arena(patched=False, harder=False), arena(patched=True, harder=False)),
            (arena(patched=False, harder=True), arena(patched=True, harder=True)),
        ),
        "7 features to 11, 6 actions to 9, all reordered; enemy stronger",
        {"actor": [96, 96], "critic": [128, 96]},
        {"rollout": 64, "batch_size": 512, "learning_rate": 1e-3, "entropy": 0.01},
        122_880,
        64,
        pretrain=150_000,
        lessened=arena(patched=True, harder=False, without=["time"]),
    ),
    "breakout": Patch(
        (_BREAKOUT,),
        "4 channels to 5, 3 actions to 4, all reordered",
        {"channels": [24], "features": [160], "actor": [160], "critic": [160]},
        {"rollout": 64, "batch_size": 512, "learning_rate": 2e-3, "entropy": 0.01},
        102_400,
        32,
        {"encoder": "small-cnn", "actor": (), "critic": (), "activation": "relu"},
        204_800,
    ),
    "minigrid": Patch(
        (
            (minigrid("MiniGrid-DoorKey-6x6-v0", patched=False), minigrid("MiniGrid-DoorKey-6x6-v0", patched=True)),
            (minigrid("MiniGrid-Unlock-v0", patched=False), minigrid("MiniGrid-Unlock-v0", patched=True)),
        ),
        "codes 11 to 13 and 6 to 7, renumbered; channels reordered; a vector; 7 actions to 8, reordered; other levels",
        {"channels": [24, 48], "features": [160], "actor": [96, 96], "critic": [96, 96]},
        {"rollout": 128, "batch_size": 512, "learning_rate": 1e-3, "entropy": 0.01},
        81_920,
        32,
        map_observations="pack:new,image.object:0..3->0..3,image.object:4..10->6..12",
        source="bundled:minigrid",
    ),
}


@dataclass(frozen=True)
class Old:
    """The policy of before."""

    policy: Policy
    moments: dict[str, torch.Tensor]
    scale: dict[str, float] | None


def play(policy: Policy | None, settings: EnvironmentSettings, episodes: int, temperature: float) -> PlayedEpisodes:
    """Play games that no training played, one copy after the other, so that chances do not hang on who steps them."""
    alike = settings.model_copy(update={"vectorize": "sync"})
    with make_environments(alike, count=min(64, episodes)) as environments:
        return play_episodes(policy, environments, episodes, PLAYED_SEED, handicap=Handicap(temperature))


def mean(policy: Policy | None, settings: EnvironmentSettings, episodes: int) -> float:
    """Return the mean return as a policy plays."""
    return float(play(policy, settings, episodes, 1.0).totals.mean())


def new_network(shape: PolicyShape, seed: int) -> PolicyNetwork:
    """Return random weights."""
    torch.manual_seed(seed)
    return PolicyNetwork(shape).eval()


def old_policy(patch: Patch, seed: int, folder: Path, scale: float) -> Old:
    """Train the policy of before, or take it from an earlier try."""
    if patch.source:
        return Old(load_policy_source(patch.source), {}, None)
    network = new_network(PolicyShape(*describe_spaces(patch.before), **patch.shape), seed)
    training = AgentTrainSettings(steps=round(patch.pretrain * scale), **patch.train)
    plan = PolicyTraining("old", training, seed, folder / "old.safetensors", fresh=True)
    made = train_policy(network, lambda: make_environments(patch.before), plan)
    return Old(Policy("old", network, patch.before.id), made.moments, made.return_scale)


def operated(patch: Patch, old: Old, seen: Any, *, wider: bool, after: EnvironmentSettings | None = None) -> Any:
    """Return plan, operated policy and proof."""
    plan = plan_surgery(
        old.policy.shape,
        *describe_spaces(after or patch.after),
        map_observations=patch.map_observations,
        widths=patch.wider if wider else None,
    )
    policy = operate(old.policy, plan, seen)
    return plan, policy, prove(old.policy, policy, plan, seen)


def observations_of(patch: Patch, old: Old, seed: int) -> Any:
    """Return what the old policy sees in its own game."""
    with make_environments(patch.before, count=16) as environments:
        return step_table(expert_states(old.policy.network, environments, STATES, seed, successful=False)).observations


def measure_start(patch: Patch, old: Old, seen: Any, quick: bool) -> dict[str, Any]:
    """Prove both operations, and let old and operated policies play the same episodes."""
    found: dict[str, Any] = {"proofs": {}, "pairs": []}
    episodes = 8 if quick else 4 * patch.played
    _, policy, proof = operated(patch, old, seen, wider=False)
    found["proofs"]["spaces"] = proof.as_dict()
    _, wide, proof = operated(patch, old, seen, wider=True)
    found["proofs"]["wider"] = proof.as_dict()
    if patch.lessened is not None:
        plan, _, proof = operated(patch, old, seen, wider=False, after=patch.lessened)
        found["proofs"]["lessened"] = proof.as_dict() | {"notes": list(plan.notes), "losses": list(plan.losses)}
    fits = load_what_fits(old.policy, *describe_spaces(patch.after))
    total = sum(value.numel() for value in fits.network.state_dict().values())
    kept = sum(fits.network.state_dict()[name].numel() for name in fits.facts["loaded"])
    found["new_actions"] = overtaken(policy, seen)
    found["fits"] = {"anew": fits.facts["anew"], "share_loaded": kept / total}
    for before, after in patch.pairs:
        sides = ((old.policy, before), (closed(policy), after), (closed(wide), after), (policy, after))
        sure = [play(one, game, episodes, 0.0) for one, game in sides]
        alike = [float(np.mean((sure[0].totals == one.totals) & (sure[0].lengths == one.lengths))) for one in sure[1:]]
        found["pairs"].append(
            {
                "game": after.id.rpartition("/")[2] + (f" {after.options['game']}" if "game" in after.options else ""),
                "episodes": episodes,
                "sure": [float(one.totals.mean()) for one in sure],
                "alike": alike,
                "drawn": [mean(old.policy, before, episodes), mean(policy, after, episodes)],
                "fits": mean(fits, after, episodes),
                "random": mean(None, after, episodes),
            }
        )
    return found


def overtaken(policy: Policy, seen: Any) -> dict[str, float]:
    """Say in how many of the old observations a new action is the likeliest, and how likely one is at most."""
    plan = SurgeryPlan.from_dict(policy.facts["surgery"]["plan"])
    shown = as_tensors(
        convert_observations(plan, {name: values[representable(plan, seen)] for name, values in seen.items()})
    )
    with torch.no_grad():
        chances = policy.network(shown).distribution.answer.softmax(dim=1)
    new = [place for place, source in enumerate(plan.answers) if source < 0]
    best = chances.argmax(dim=1)
    return {
        "likeliest": float(torch.isin(best, torch.tensor(new)).double().mean()),
        "highest": float(chances[:, new].max()),
    }


def closed(policy: Policy) -> Policy:
    """Return an operated policy that never takes a new action: what is left is what it did before."""
    network = copy.deepcopy(policy.network)
    answers = SurgeryPlan.from_dict(policy.facts["surgery"]["plan"]).answers
    with torch.no_grad():
        network.actor_head.bias[[place for place, source in enumerate(answers) if source < 0]] = -1e9
    return Policy("closed", network)


def start_of(arm: str, patch: Patch, old: Old, seen: Any, seed: int) -> tuple[Policy, dict[str, Any]]:
    """Return the policy that an arm starts from, and what its training is told besides."""
    if arm in ("surgery", "wider"):
        plan, policy, _ = operated(patch, old, seen, wider=arm == "wider")
        carried = carry_moments(old.moments, plan)
        return policy, {"surgery": AfterSurgery(policy, carried), "return_scale": old.scale}
    if arm == "fits":
        policy = load_what_fits(old.policy, *describe_spaces(patch.after), seed)
        if any(name.startswith("normalizer.") for name in policy.facts["anew"]):
            policy.network.normalizer.count.zero_()  # its statistics begin anew, so let them move at once
        return policy, {"fresh": True, "return_scale": old.scale}
    shape = PolicyShape.from_dict(old.policy.shape.as_dict())
    observations, actions = describe_spaces(patch.after)
    changed = {**shape.__dict__, "observations": observations, "actions": actions}
    return Policy("scratch", new_network(PolicyShape(**changed), 1000 + seed)), {"fresh": True}


def run_arm(arm: str, patch: Patch, old: Old, seen: Any, seed: int, folder: Path, scale: float) -> dict[str, Any]:
    """Train one arm, and measure it after each tenth."""
    policy, told = start_of(arm, patch, old, seen, seed)
    quick = scale < 1.0
    episodes = 8 if quick else patch.played
    training = AgentTrainSettings(steps=round(patch.steps * scale), **patch.train)
    plan = PolicyTraining(arm, training, seed, folder / f"{arm}.safetensors", **told)
    first = mean(policy, patch.after, episodes if quick else 4 * episodes)
    curve = [{"step": 0, "score": first}]
    trained, watched = policy.network, [0.0]
    per_update = plan.settings.rollout * int(patch.after.count)
    updates = math.ceil(training.steps / per_update)
    tenths = {round(n * updates / training.checkpoints) * per_update for n in range(1, training.checkpoints)}

    def watch(rows: list[dict[str, Any]]) -> None:
        # Called in between as well, as the clock has it.
        step, began = (rows[-1]["step"] if rows else 0), time.process_time()
        if step in tenths and step > curve[-1]["step"]:
            measured = Policy(arm, copy.deepcopy(trained).eval())
            curve.append({"step": step, "score": mean(measured, patch.after, episodes)})
        watched[0] += time.process_time() - began

    began = time.process_time()
    result = train_policy(trained, lambda: make_environments(patch.after), plan, watch)
    seconds = time.process_time() - began - watched[0]
    final = mean(Policy(arm, trained), patch.after, episodes if quick else 4 * episodes)
    curve.append({"step": result.steps, "score": final})
    return {"curve": curve, "final": final, "steps": result.steps, "seconds": round(seconds, 1)}


def run_seed(name: str, seed: int, out: Path, scale: float, pieces: Sequence[str]) -> None:
    """Do what is missing of some pieces of one game and seed."""
    patch, folder = PATCHES[name], out / name / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [piece for piece in pieces if not (folder / f"{piece}.json").is_file()]
    if not missing:
        return
    old = old_policy(patch, seed, folder, scale)
    seen = observations_of(patch, old, seed)
    for piece in missing:
        if piece == "start":
            found = measure_start(patch, old, seen, scale < 1.0)
        else:
            found = run_arm(piece, patch, old, seen, seed, folder, scale)
            (folder / f"{piece}.safetensors").unlink(missing_ok=True)
        write_json(folder / f"{piece}.json", found)
        print(f"{name}, seed {seed}: {piece}", file=sys.stderr, flush=True)


def others_answer(patch: Patch) -> dict[str, str]:
    """Let Stable-Baselines3 load a policy of the old spaces with the new game."""
    import gymnasium

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stable_baselines3 import PPO

        old, new = (make_copy(one).environment for one in (patch.before, patch.after))
        if isinstance(old.observation_space, gymnasium.spaces.Dict):
            # Its network for pictures wants larger ones, and it cannot see texts: flat, without the mission.
            old = gymnasium.wrappers.FilterObservation(old, ["direction", "image"])
            old, new = (gymnasium.wrappers.FlattenObservation(one) for one in (old, new))
        answers = {}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "old.zip"
            PPO("MlpPolicy", old, device="cpu").save(file)
            fresh = PPO("MlpPolicy", new, device="cpu")
            for title, call in (
                ("PPO.load(old, env=new)", lambda: PPO.load(file, env=new, device="cpu")),
                ("set_parameters(old)", lambda: fresh.set_parameters(str(file), device="cpu")),
                (
                    "set_parameters(old, exact_match=False)",
                    lambda: fresh.set_parameters(str(file), exact_match=False, device="cpu"),
                ),
            ):
                try:
                    call()
                    answers[title] = "no exception"
                except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                    answers[title] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return answers


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and half width of a 95 % t interval."""
    if len(values) < 2:
        return statistics.fmean(values), math.nan
    spread = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), spread


def text(values: Sequence[float], digits: int = 2) -> str:
    """Write mean and interval."""
    middle, half = interval(values)
    return f"{middle:.{digits}f}" if math.isnan(half) else f"{middle:.{digits}f} ± {half:.{digits}f}"


def brief(message: str) -> str:
    """Shorten an exception for a table: repeated numbers, and what comes after 240 characters."""
    short = re.sub(r"\b(\d+\.?)(?: \1(?![\d.])){2,}", r"\1 ... \1", message)
    return short if len(short) <= 240 else f"{short[:240]} ..."


def collect(out: Path, names: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    """Read what is there."""
    found: dict[str, Any] = {}
    for name in names:
        for seed in seeds:
            pieces = {one: out / name / str(seed) / f"{one}.json" for one in ("start", *ARMS)}
            if pieces["start"].is_file():
                there = {one: json.loads(path.read_text()) for one, path in pieces.items() if path.is_file()}
                found.setdefault(name, {})[str(seed)] = there
    return found


def proof_tables(found: dict[str, Any]) -> list[str]:
    """Return the tables of proofs and of step 0."""
    lines = [
        "| game | operation | observations | largest logit | exact | as played | value, exact | new action: mean | "
        "highest | likeliest in |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    titles = {"spaces": "new spaces", "wider": "new spaces, wider network", "lessened": "and a feature removed"}
    for name, seeds in found.items():
        for kind, title in titles.items():
            proofs = [one["start"]["proofs"][kind] for one in seeds.values() if kind in one["start"]["proofs"]]
            if not proofs:
                continue
            raw = max((p["raw"]["logits"] for p in proofs if p["raw"]), default=None)
            title += "" if raw is None else f" (against the policy that still sees it: {raw:.2g})"
            news = [one["start"]["new_actions"] for one in seeds.values()]
            chances = [chance for p in proofs for chance in p["new_actions"].values()]
            lines.append(
                f"| {name} | {title} | {sum(p['observations'] for p in proofs)} | "
                f"{max(p['scale'] for p in proofs):.1f} | {max(p['exact']['logits'] for p in proofs):.1e} | "
                f"{max(p['single']['logits'] for p in proofs):.1e} | {max(p['exact']['values'] for p in proofs):.1e} | "
                f"{statistics.fmean(chances):.2%} | "
                + (
                    f"{max(n['highest'] for n in news):.2%} | {max(n['likeliest'] for n in news):.2%} |"
                    if kind == "spaces"
                    else "| |"
                )
            )
    lines += [
        "",
        "| game | episodes a seed | old, likeliest | operated | same, new actions shut | same | "
        "old, drawn | operated, drawn | load what fits | random |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, seeds in found.items():
        for number in range(len(PATCHES[name].pairs)):
            pairs = [one["start"]["pairs"][number] for one in seeds.values()]
            sure = [[pair["sure"][place] for pair in pairs] for place in range(4)]
            drawn = [[pair["drawn"][place] for pair in pairs] for place in range(2)]
            alike = [min(pair["alike"][place] for pair in pairs) for place in range(3)]
            which = ("" if len(PATCHES[name].pairs) == 1 else (", old rules", ", patched")[number]) or ", patched"
            lines.append(
                f"| {name}{which} | {pairs[0]['episodes']} | {text(sure[0])} | {text(sure[3])} | "
                f"{min(alike[:2]):.1%} | {alike[2]:.1%} | {text(drawn[0])} | {text(drawn[1])} | "
                f"{text([p['fits'] for p in pairs])} | {text([p['random'] for p in pairs])} |"
            )
    return [*lines, ""]


def reached(curve: list[dict[str, float]], target: float) -> float:
    """Return the first measured step at or above a score; infinite if there is none."""
    return next((point["step"] for point in curve if point["score"] >= target), math.inf)


def learning_table(name: str, seeds: dict[str, Any]) -> list[str]:
    """Return the table of arms of one game."""
    arms = {arm: [one[arm] for one in seeds.values() if arm in one] for arm in ARMS}
    finals = {arm: [one["final"] for one in runs] for arm, runs in arms.items() if runs}
    if not finals:
        return []
    best = max(finals, key=lambda arm: statistics.fmean(finals[arm]))
    optimum = statistics.fmean(finals[best])
    random = statistics.fmean(one["start"]["pairs"][-1]["random"] for one in seeds.values())
    target = random + NEAR * (optimum - random)
    steps = next(run["steps"] for runs in arms.values() for run in runs)
    lines = [
        f"**{name}** ({len(seeds)} seeds, {steps:,} steps). New optimum: {optimum:.2f} ({TITLES[best]}), random "
        f"{random:.2f}; 95 % of the way is {target:.2f}.",
        "",
        "| arm | step 0 | a tenth | three tenths | half | end | steps to 95 %, by seed | CPU s |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for arm, runs in arms.items():
        if not runs:
            continue
        places = [[run["curve"][min(place, len(run["curve"]) - 1)]["score"] for run in runs] for place in (0, 1, 3, 5)]
        when = [reached(run["curve"], target) for run in runs]
        told = ", ".join("not reached" if math.isinf(one) else f"{one / 1000:,.0f}k" for one in when)
        lines.append(
            f"| {TITLES[arm]} | {' | '.join(text(one) for one in places)} | {text(finals[arm])} | {told} | "
            f"{statistics.fmean(run['seconds'] for run in runs):.0f} |"
        )
    return [*lines, ""]


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes that still run everything: does it run?")
    parser.add_argument("--out", type=Path, default=Path("results-patch-day"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--games", default=",".join(PATCHES))
    parser.add_argument("--tables", action="store_true", help="only print what is there")
    arguments = parser.parse_args()
    out = (arguments.out / "quick" if arguments.quick else arguments.out).resolve()
    scale = 0.03 if arguments.quick else 1.0
    seeds = range(FIRST_SEED, FIRST_SEED + (1 if arguments.quick else arguments.seeds))
    names = arguments.games.split(",")
    torch.set_num_threads(1)
    sb3 = out / "stable_baselines3.json"
    if not arguments.tables:
        for pieces in (("start", "surgery", "fits", "scratch"), ("wider",)):
            for seed, name in itertools.product(seeds, names):
                run_seed(name, seed, out, scale, pieces)
        if not sb3.is_file():
            write_json(sb3, {name: others_answer(PATCHES[name]) for name in names})
    found = collect(out, names, seeds)
    answers = json.loads(sb3.read_text()) if sb3.is_file() else {}
    lines = ["| game | what changed |", "|---|---|", *(f"| {one} | {PATCHES[one].changes} |" for one in found), ""]
    lines += proof_tables(found)
    lines += [line for name, seeds_of in found.items() for line in learning_table(name, seeds_of)]
    lines += ["| game | Stable-Baselines3 | answer |", "|---|---|---|"]
    for name, calls in answers.items():
        for answer in dict.fromkeys(calls.values()):
            asked = ", ".join(f"`{call}`" for call, given in calls.items() if given == answer)
            lines.append(f"| {name} | {asked} | {brief(answer)} |")
    print("\n".join(lines))
    content = json.dumps({"games": found, "stable_baselines3": answers, "scale": scale}, indent=1) + "\n"
    target = out / "patch_day.json" if arguments.quick else HERE / "results" / "patch_day.json"
    write_bytes(target, content.encode())


if __name__ == "__main__":
    main()
