"""How fast a policy learns by playing: the whole loop against Stable-Baselines3's PPO, and what both can do then.

    python benchmarks/ppo_speed.py [--quick] [--out results-ppo-speed] [--games cartpole,breakout,doorkey]
                                   [--rounds 5] [--seeds 5] [--only speed,profile,score]

Speed: steps of the game per second over whole trainings, from the call to its end: playing, learning, bookkeeping.
Both sides build the same layers (the script compares the shapes of all weights), take the same hyperparameters (rate
3e-4 and constant, no normalization but that of advantages) and play as many copies. Each game is timed under two
settings: *wide* (64 or 16 copies, 4 epochs of minibatches of 512, as New Game+'s recipe has them) and *narrow* (8
copies, 10 epochs of minibatches of 64, Stable-Baselines3's defaults). Arms, each by its way of stepping the copies:

* ``ours``: New Game+, stepped as it chooses itself; ``ours, envpool`` where envpool has the game.
* ``sb3, dummy`` and ``sb3, subproc``: Stable-Baselines3 with its own two (one after the other, one process a copy).
* ``sb3, our games``: Stable-Baselines3 playing New Game+'s environments through a thin adapter: what its loop costs
  without its way of stepping. ``sb3, envpool``: the same for envpool.

All arms take turns in one process with one thread, several rounds, in an order that is drawn anew; a training begins
anew each time. The tables hold the ratios within rounds (geometric mean with a 95 % t-interval) of seconds on the clock
and, for arms of one process, of seconds of the processor, which other work on the machine disturbs less.

Profile: where the processor's time of ``ours`` goes, and how many steps the bare copies take with random actions.

Score: both train from scratch (*wide*) with the same seeds and as many steps; then both play the same 100 episodes a
seed. How copies are stepped does not change what is learnt, so Stable-Baselines3 plays New Game+'s here.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from newgameplus.evaluate.returns import aggregate_difference, aggregate_interval
from newgameplus.games.environment_check import random_actions
from newgameplus.games.environment_contract import Environments, Step
from newgameplus.games.environments import make_environments
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.recipe_agent import AgentTrainSettings, EnvironmentSettings
from newgameplus.scenarios.agent_play import play_episodes
from newgameplus.train import policy_optimization
from newgameplus.train.policy_optimization import PolicyTraining, train_policy

RATE, ENTROPY = 3e-4, 0.01
CHANNELS, FEATURES, HIDDEN = 16, 128, (64, 64)
EPISODES = 100
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Game:
    """What is played, and how much.

    Attributes:
        id: Gymnasium's name.
        copies: Copies stepped together.
        rollout: Steps of each copy between two updates.
        batch: Steps in a minibatch.
        epochs: Passes over a rollout.
        steps: Steps of a training that is timed.
        score_id: Game on which scores are compared; empty for none.
        score_steps: Steps of those trainings.
        parts: Parts of the observation that are seen.
        envpool: Whether envpool has it.
    """

    id: str
    copies: int
    rollout: int
    batch: int
    epochs: int
    steps: int
    score_id: str = ""
    score_steps: int = 0
    parts: tuple[str, ...] = ()
    envpool: bool = False

    def settings(self, vectorize: str = "auto", name: str = "") -> EnvironmentSettings:
        """Return the game as New Game+ takes it."""
        return EnvironmentSettings(id=name or self.id, parts=self.parts, count=self.copies, vectorize=vectorize)


_DOORKEY, _EASY_DOORKEY = "MiniGrid-DoorKey-8x8-v0", "MiniGrid-DoorKey-5x5-v0"
GAMES = {
    "cartpole": Game("CartPole-v1", 64, 32, 512, 4, 24_576, "CartPole-v1", 204_800, envpool=True),
    "cartpole-narrow": Game("CartPole-v1", 8, 256, 64, 10, 4_096, envpool=True),
    "breakout": Game("MinAtar/Breakout-v1", 64, 32, 512, 4, 12_288, "MinAtar/Breakout-v1", 131_072),
    "breakout-narrow": Game("MinAtar/Breakout-v1", 8, 256, 64, 10, 2_048),
    "doorkey": Game(_DOORKEY, 16, 128, 512, 4, 6_144, _EASY_DOORKEY, 131_072, ("image",), True),
    "doorkey-narrow": Game(_DOORKEY, 8, 256, 64, 10, 2_048, parts=("image",), envpool=True),
}


# What both sides build.


def our_network(environments: Environments) -> PolicyNetwork:
    """Return New Game+'s network; the small convolution of ``small-cnn`` for images and grids."""
    shape = PolicyShape(
        environments.observations,
        environments.actions,
        features=FEATURES,
        actor=HIDDEN,
        critic=HIDDEN,
        normalize=False,
        options={"channels": [CHANNELS]},
    )
    return PolicyNetwork(shape).eval()


def their_features(sizes: tuple[int, ...], channels: int) -> Any:
    """Return a class of Stable-Baselines3's that has the layers of ``small-cnn``.

    Args:
        sizes: Codes of a grid by channel, which become one-hot; empty for an image.
        channels: Channels of what is seen.
    """
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class SmallConvolution(BaseFeaturesExtractor):
        def __init__(self, observation_space: Any) -> None:
            super().__init__(observation_space, FEATURES)
            shape = observation_space.shape
            self.last = shape[0] != channels
            height, width = shape[:2] if self.last else shape[1:]
            self.convolution = nn.Conv2d(sum(sizes) or channels, CHANNELS, 3)
            self.linear = nn.Linear(CHANNELS * (height - 2) * (width - 2), FEATURES)
            self.register_buffer("starts", torch.tensor([sum(sizes[:n]) for n in range(len(sizes))] or [0]))

        def forward(self, seen: torch.Tensor) -> torch.Tensor:
            seen = seen.permute(0, 3, 1, 2) if self.last else seen
            if sizes:
                places = seen.long() + self.starts[:, None, None]
                seen = torch.zeros(len(seen), sum(sizes), *seen.shape[2:]).scatter_(1, places, 1.0)
            hidden = torch.relu(self.convolution(seen)).flatten(1)
            return torch.relu(self.linear(hidden))

    return SmallConvolution


def their_model(game: Game, vector: Any, environments: Environments, seed: int) -> Any:
    """Return Stable-Baselines3's PPO with New Game+'s layers and hyperparameters."""
    from stable_baselines3 import PPO

    policy: dict[str, Any] = {"net_arch": {"pi": list(HIDDEN), "vf": list(HIDDEN)}, "activation_fn": nn.Tanh}
    part = environments.observations.parts[0]
    if part.kind in ("image", "grid"):
        sizes = part.sizes if part.kind == "grid" else ()
        policy |= {
            "features_extractor_class": their_features(sizes, part.shape[0]),
            "normalize_images": False,
        }
    return PPO(
        "MlpPolicy" if part.kind == "vector" else "CnnPolicy",
        vector,
        learning_rate=RATE,
        n_steps=game.rollout,
        batch_size=game.batch,
        n_epochs=game.epochs,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=ENTROPY,
        vf_coef=0.5,
        max_grad_norm=0.5,
        policy_kwargs=policy,
        seed=seed,
        device="cpu",
    )


def our_settings(game: Game, steps: int) -> AgentTrainSettings:
    """Return the same hyperparameters for New Game+."""
    return AgentTrainSettings(
        steps=steps,
        rollout=game.rollout,
        epochs=game.epochs,
        batch_size=game.batch,
        learning_rate=RATE,
        critic_learning_rate=RATE,
        schedule="constant",
        entropy=ENTROPY,
        kl_stop=None,
        normalize_returns=False,
        reward_clip=None,
        checkpoints=1,
        device="cpu",
        threads=1,
    )


def train_ours(game: Game, environments: Environments, steps: int, seed: int) -> PolicyNetwork:
    """Train New Game+'s policy from scratch."""
    torch.manual_seed(seed)
    network = our_network(environments)
    with tempfile.TemporaryDirectory() as folder:
        training = PolicyTraining("ours", our_settings(game, steps), seed, Path(folder) / "checkpoint", fresh=True)
        train_policy(network, environments, training)
    return network


# How Stable-Baselines3 steps its games.


def their_copy(name: str) -> Any:
    """Make one copy of a game as users of Stable-Baselines3 do."""
    import gymnasium

    if name.startswith("MinAtar"):
        import minatar.gym

        if name not in gymnasium.registry:
            minatar.gym.register_envs()
    if name.startswith("MiniGrid"):
        import minigrid

        return minigrid.wrappers.ImgObsWrapper(gymnasium.make(name))
    return gymnasium.make(name)


def adapter_base() -> type:
    """Return Stable-Baselines3's vector of games with what an adapter does not need filled in."""
    from stable_baselines3.common.vec_env import VecEnv

    class Base(VecEnv):
        def get_attr(self, attr_name: str, indices: Any = None) -> Any:
            return [None] * self.num_envs

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise NotImplementedError

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **options: Any) -> Any:
            raise NotImplementedError

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * self.num_envs

    return Base


def adapt(environments: Environments, seed: int) -> Any:
    """Return New Game+'s environments as a vector of Stable-Baselines3's."""
    from gymnasium import spaces

    part = environments.observations.parts[0]
    if part.kind == "vector":
        seen: Any = spaces.Box(-np.inf, np.inf, part.shape, np.float32)
    else:
        seen = spaces.Box(0, 255, part.shape, np.uint8)

    class Adapter(adapter_base()):
        def __init__(self) -> None:
            super().__init__(environments.count, seen, spaces.Discrete(environments.actions.width))
            self.chosen: Any = None

        def reset(self) -> Any:
            return environments.reset(seed)[part.name]

        def step_async(self, actions: Any) -> None:
            self.chosen = actions

        def step_wait(self) -> Any:
            step = environments.step(self.chosen)
            infos: list[dict[str, Any]] = [{} for _ in range(environments.count)]
            for end in step.episodes:
                row = end.environment
                infos[row] = {
                    "terminal_observation": step.final[part.name][row],
                    "TimeLimit.truncated": bool(step.truncated[row]),
                    "episode": {"r": end.total, "l": end.length, "t": 0.0},
                }
            return step.observations[part.name], step.rewards, step.ended, infos

        def close(self) -> None:
            environments.close()

    return Adapter()


def their_vector(game: Game, how: str) -> Any:
    """Return a vector of copies for Stable-Baselines3."""
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    if how == "our games":
        return adapt(make_environments(game.settings()), 0)
    if how == "envpool":
        return adapt(make_environments(game.settings("native")), 0)
    makers: list[Callable[[], Any]] = [lambda: their_copy(game.id)] * game.copies
    return SubprocVecEnv(makers, start_method="fork") if how == "subproc" else DummyVecEnv(makers)


# Speed.


class Arm:
    """One way to train, with its games kept open from round to round."""

    def __init__(self, game: Game, name: str) -> None:
        self.game, self.name = game, name
        side, _, how = name.partition(", ")
        self.ours, self.own_process = side == "ours", how != "subproc"
        vectorize = "native" if how == "envpool" else "auto"
        self.environments = make_environments(game.settings(vectorize if self.ours else "auto"))
        self.vector = None if self.ours else their_vector(game, how)

    def time(self, steps: int, seed: int) -> tuple[float, float]:
        """Train from scratch; return seconds on the clock and of the processor."""
        model = None if self.ours else their_model(self.game, self.vector, self.environments, seed)
        began, worked = time.perf_counter(), time.process_time()
        if model is None:
            train_ours(self.game, self.environments, steps, seed)
        else:
            model.learn(steps)
        return time.perf_counter() - began, time.process_time() - worked

    def close(self) -> None:
        """Let go of the games."""
        self.environments.close()
        if self.vector is not None:
            self.vector.close()


def arms_of(game: Game) -> list[str]:
    """Return the arms that a game has."""
    pool = [", envpool"] if game.envpool else []
    return [f"ours{how}" for how in ["", *pool]] + [
        f"sb3{how}" for how in [", dummy", ", subproc", ", our games", *pool]
    ]


def measure_speed(game: Game, rounds: int, kept: Path) -> dict[str, Any]:
    """Time all arms in turn; go on with the rounds that are there."""
    content = json.loads(kept.read_text()) if kept.is_file() else {"rounds": []}
    if len(content["rounds"]) >= rounds:
        return content
    names = arms_of(game)
    arms = {name: Arm(game, name) for name in reversed(names)}  # processes first, while nothing else is there
    content["weights"] = same_weights(game, arms["ours"].environments)
    for arm in arms.values():
        arm.time(game.copies * game.rollout, 99)  # once, to warm up
    while len(content["rounds"]) < rounds:
        number = len(content["rounds"])
        row = {}
        for name in np.random.default_rng(number).permutation(names):
            clock, processor = arms[name].time(game.steps, number)
            row[str(name)] = {"steps": game.steps, "clock": clock, "processor": processor}
            say(f"{game.id}, round {number + 1}, {name}: {game.steps / clock:,.0f} steps/s")
        content["rounds"].append(row)
        keep(kept, content)
    for arm in arms.values():
        arm.close()
    return content


def same_weights(game: Game, environments: Environments) -> int:
    """Return the number of weights of both networks, or end with the difference."""
    ours = sorted(tuple(weight.shape) for weight in our_network(environments).parameters())
    vector = adapt(environments, 0)
    model = their_model(game, vector, environments, 0)
    theirs = sorted(tuple(weight.shape) for weight in model.policy.parameters())
    if ours != theirs:
        raise SystemExit(f"the networks differ: {ours} against {theirs}")
    return sum(weight.numel() for weight in model.policy.parameters())


# Where the time goes.


class Timed(Environments):
    """Environments that add up the processor's time of their steps."""

    def __init__(self, inner: Environments) -> None:
        self.inner, self.seconds = inner, 0.0
        self.name, self.count, self.masked = inner.name, inner.count, inner.masked
        self.observations, self.actions = inner.observations, inner.actions

    def reset(self, seed: int) -> Any:
        """Begin anew."""
        return self.inner.reset(seed)

    def step(self, actions: Any) -> Step:
        """Step, and count the time."""
        began = time.process_time()
        found = self.inner.step(actions)
        self.seconds += time.process_time() - began
        return found

    def masks(self) -> Any:
        """Say what is allowed."""
        return self.inner.masks()

    def close(self) -> None:
        """Let go of the games."""
        self.inner.close()


@contextmanager
def timing_updates() -> Iterator[list[float]]:
    """Add up the processor's time of updates."""
    update, spent = policy_optimization.update_policy, []

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.process_time()
        found = update(*arguments, **options)
        spent.append(time.process_time() - began)
        return found

    policy_optimization.update_policy = timed
    try:
        yield spent
    finally:
        policy_optimization.update_policy = update


def profile(game: Game, kept: Path) -> dict[str, float]:
    """Say where the processor's time of a training goes, and how fast the copies are by themselves."""
    if kept.is_file():
        return json.loads(kept.read_text())
    timed = Timed(make_environments(game.settings()))
    train_ours(game, timed, 2 * game.copies * game.rollout, 99)
    timed.seconds = 0.0
    with timing_updates() as spent:
        began = time.process_time()
        train_ours(game, timed, game.steps, 0)
        whole = time.process_time() - began
    content = {
        "steps_per_second": game.steps / whole,
        "games": timed.seconds / whole,
        "update": sum(spent) / whole,
        "rest": 1.0 - (timed.seconds + sum(spent)) / whole,
        "bare_steps_per_second": bare_speed(timed.inner, game.steps),
    }
    timed.close()
    vector = their_vector(game, "dummy")
    vector.reset()
    actions = np.random.default_rng(0).integers(vector.action_space.n, size=(game.steps // game.copies, game.copies))
    began = time.process_time()
    for row in actions[: max(1, len(actions) // 2)]:
        vector.step(row)
    content["bare_dummy_steps_per_second"] = game.copies * max(1, len(actions) // 2) / (time.process_time() - began)
    vector.close()
    keep(kept, content)
    return content


def bare_speed(environments: Environments, steps: int) -> float:
    """Return steps a second of the processor with random actions."""
    rng = np.random.default_rng(0)
    environments.reset(0)
    rows = [random_actions(environments.actions, environments.count, rng) for _ in range(steps // environments.count)]
    began = time.process_time()
    for row in rows:
        environments.step(row)
    return len(rows) * environments.count / (time.process_time() - began)


# What both can do then.


class Theirs:
    """A model of Stable-Baselines3's that plays as New Game+'s policies do."""

    def __init__(self, model: Any, part: str) -> None:
        self.model, self.part = model, part
        self.network = self

    def initial_state(self, count: int) -> torch.Tensor:
        """Nothing is remembered."""
        return torch.zeros(count, 0)

    def act(self, observations: Any, state: Any, *_: Any, generator: torch.Generator, **__: Any) -> Any:
        """Draw actions."""
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        return self.model.predict(observations[self.part], deterministic=False)[0], state


def score(game: Game, side: str, seed: int, kept: Path) -> list[float]:
    """Train from scratch, then play; return the episodes' returns."""
    if kept.is_file():
        return json.loads(kept.read_text())
    settings = game.settings(name=game.score_id)
    with make_environments(settings) as environments, make_environments(settings) as others:
        if side == "ours":
            player: Any = Policy("ours", train_ours(game, environments, game.score_steps, seed))
        else:
            model = their_model(game, adapt(environments, seed), environments, seed)
            model.learn(game.score_steps)
            player = Theirs(model, environments.observations.parts[0].name)
        found = play_episodes(player, others, EPISODES, 10_000).totals.tolist()
    say(f"{game.score_id}, {side}, seed {seed}: {statistics.fmean(found):.3g}")
    keep(kept, found)
    return found


# Tables.


def keep(path: Path, content: Any) -> None:
    """Write JSON whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)


def geometric(values: list[float], digits: int = 2) -> str:
    """Return a geometric mean with its 95 % interval over rounds."""
    logs = [math.log(value) for value in values]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):.{digits}f}"
    half = STUDENT[min(9, len(logs) - 1)] * statistics.stdev(logs) / len(logs) ** 0.5
    return f"{math.exp(mean):.{digits}f} ({math.exp(mean - half):.{digits}f} to {math.exp(mean + half):.{digits}f})"


def speed_table(results: dict[str, Any]) -> str:
    """Return the table of speeds as markdown."""
    lines = [
        "| game | arm | steps/s, clock | steps/s, processor | `ours` is faster, clock | `ours` is faster, processor |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        rounds = result["speed"]["rounds"]
        for arm in arms_of(GAMES[name]):
            rows = [(row[arm], row["ours"]) for row in rounds]
            alone = "subproc" not in arm
            rates = [statistics.median(row["steps"] / row[kind] for row, _ in rows) for kind in ("clock", "processor")]
            ratios = [geometric([row[kind] / own[kind] for row, own in rows]) for kind in ("clock", "processor")]
            ratios = ["1", "1"] if arm == "ours" else ratios
            lines.append(
                f"| {name} | {arm} | {rates[0]:,.0f} | {f'{rates[1]:,.0f}' if alone else '-'} | {ratios[0]} "
                f"| {ratios[1] if alone else '-'} |"
            )
    return "\n".join(lines)


def profile_table(results: dict[str, Any]) -> str:
    """Return where the time goes as markdown."""
    lines = [
        "| game | steps/s | in the games | in the update | choosing actions, advantages, the rest "
        "| bare games, steps/s | bare games of `sb3, dummy`, steps/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        found = result["profile"]
        shares = " | ".join(f"{100 * found[key]:.0f} %" for key in ("games", "update", "rest"))
        lines.append(
            f"| {name} | {found['steps_per_second']:,.0f} | {shares} | {found['bare_steps_per_second']:,.0f} "
            f"| {found['bare_dummy_steps_per_second']:,.0f} |"
        )
    return "\n".join(lines)


def score_table(results: dict[str, Any]) -> str:
    """Return the final scores as markdown: means over seeds of mean returns, with intervals."""
    lines = [
        "| game | steps | seeds | ours (95 %) | Stable-Baselines3 (95 %) | ours less theirs (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for game, result in ((result["game"], result) for result in results.values() if "score" in result):
        means = {s: [statistics.fmean(v) for v in result["score"][s]] for s in ("ours", "sb3")}
        cells = [
            f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"
            for found in (aggregate_interval({"": means[side]}, "mean") for side in ("ours", "sb3"))
        ]
        less = aggregate_difference({"": means["ours"]}, {"": means["sb3"]}, "mean")
        lines.append(
            f"| {game['score_id']} | {game['score_steps']:,} | {len(means['ours'])} | {cells[0]} | {cells[1]} "
            f"| {less.value:+.3g} ({less.low:+.3g} to {less.high:+.3g}) |"
        )
    return "\n".join(lines)


def say(message: str) -> None:
    """Print a line of progress."""
    from newgameplus import progress

    progress.say(message)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds, to see that it works; its tables say nothing")
    parser.add_argument("--out", type=Path, default=Path("results-ppo-speed"))
    parser.add_argument("--games", default=",".join(GAMES))
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 11))
    parser.add_argument("--seeds", type=int, default=5, choices=range(1, 11))
    parser.add_argument("--only", default="speed,profile,score", help="parts to run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of Gymnasium's and Stable-Baselines3's about each other
    out: Path = arguments.out.resolve() / ("quick" if arguments.quick else "")
    rounds, seeds = (2, 2) if arguments.quick else (arguments.rounds, arguments.seeds)
    results: dict[str, Any] = {}
    for name in arguments.games.split(","):
        game = GAMES[name]
        if arguments.quick:
            game = replace(game, steps=game.copies * game.rollout, score_steps=game.copies * game.rollout)
        result: dict[str, Any] = {"game": asdict(game)}
        if "speed" in arguments.only:
            result["speed"] = measure_speed(game, rounds, out / "cells" / f"{name}-speed.json")
        if "profile" in arguments.only:
            result["profile"] = profile(game, out / "cells" / f"{name}-profile.json")
        if "score" in arguments.only and game.score_id:
            cells = {
                side: [score(game, side, seed, out / "cells" / f"{name}-{side}-{seed}.json") for seed in range(seeds)]
                for side in ("ours", "sb3")
            }
            result["score"] = cells
        results[name] = result
    keep(out / "ppo_speed.json", results)
    tables = {"speed": speed_table, "profile": profile_table, "score": score_table}
    print("\n\n".join(table(results) for part, table in tables.items() if part in arguments.only))


if __name__ == "__main__":
    main()
