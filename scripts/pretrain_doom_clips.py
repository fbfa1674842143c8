"""Make the bundled backbone "doom-clips": record maps, compare objectives, train the best, write weights and card.

    python scripts/pretrain_doom_clips.py --out results-pretraining           # everything: about an hour on two cores
    python scripts/pretrain_doom_clips.py --out results-pretraining --quick   # the same road in two minutes
    python scripts/pretrain_doom_clips.py --out results-pretraining --only train --objective inverse-dynamics

No human labels anything: the engine says which button was held. Recordings are kept in the output folder and used
again; the log (JSON lines) is added to. Copy the two files from `weights/` to `src/newgameplus/pretrained/weights/`
to ship them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from sklearn.linear_model import LogisticRegression

from newgameplus import progress
from newgameplus.errors import RecorderError
from newgameplus.files import atomic_path
from newgameplus.games.record.acting import ACTIONS
from newgameplus.games.record.doom import to_trajectory
from newgameplus.games.record.doom_engine import FRAME_RATE, Frame, play
from newgameplus.games.record.doom_maps import find_map, known_maps
from newgameplus.games.record.labelling import action_spans
from newgameplus.pretrained import bundled
from newgameplus.pretrained.backbone import PretrainedModel, ZeroShotHead
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.clip_network import ClipNetwork
from newgameplus.shapes import ClipShape
from newgameplus.train.objective_learner import pretrain
from newgameplus.train.selfsupervision import (
    Augmentation,
    ClipBatch,
    InverseDynamics,
    Objective,
    TemporalOrder,
    TwoViews,
)

LABELS = tuple(ACTIONS)
BT601 = np.array([77, 150, 29], np.uint16)
"""Weights of red, green and blue in grey, in 256ths."""
QUICK = {
    "episode_seconds": 8,
    "episodes": 1,
    "multiplayer_episodes": 0,
    "random_weapon_episodes": 0,
    "scenario_episodes": 0,
    "validation_episodes": 4,
    "behind_episodes": 4,
    "comparison_steps": 20,
    "final_steps": 60,
}
QUICK_MAPS = 6

Log = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Stream:
    """Small frames of one map, and where in them one action was held.

    Attributes:
        frames: uint8 [frames, height, width, 1], every ``stride``-th tic.
        holds: int64 [holds, 5]; first and last frame at which a clip may begin, action, episode, and the frame at which
            the clip in the middle begins.
    """

    frames: npt.NDArray[np.uint8]
    holds: npt.NDArray[np.int64]


# --- recording -------------------------------------------------------------------------------------------------------


def maps_to_record(recipe: dict[str, Any], quick: bool) -> tuple[list[str], list[str]]:
    """Return the maps to train on and those to validate on; the reserved ones are in neither."""
    apart = {*recipe["reserved"], *recipe["validation"]}
    training = [name for name in known_maps() if name not in apart]
    return (training[10 : 10 + QUICK_MAPS] if quick else training), list(recipe["validation"])


def file_of(name: str) -> str:
    """Return the name of the file that holds the recordings of a map (and view)."""
    return f"{name.replace(':', '_')}.npz"


def record_map(name: str, folder: Path, recipe: dict[str, Any]) -> str:
    """Record all episodes of a map, or of ``map@view``, into one file, unless it is there; return a line about it."""
    path = folder / file_of(name)
    where, _, view = name.partition("@")
    if path.exists():
        return f"{name}: recorded before"
    started = time.monotonic()
    frames: list[npt.NDArray[np.uint8]] = []
    holds: list[tuple[int, int, int, int, int]] = []
    problems = []
    for episode, (players, weapon) in enumerate(_casts(name, recipe)):
        own_number = sum(name.encode()) * 1000 + len(name)
        seed = np.random.SeedSequence([recipe["seed"], own_number, episode]).generate_state(1)[0]
        tics = int(recipe["episode_seconds"] * FRAME_RATE)
        played = play(
            find_map(where),
            seed=int(seed % (1 << 31)),
            frames=tics,
            players=players,
            weapon=weapon,
            view=view or "first",
        )
        try:
            small, spans = _watch(played, recipe)
        except RecorderError as error:  # some maps cannot hold four players
            problems.append(str(error).splitlines()[0])
            continue
        base = sum(map(len, frames))
        holds += [(base + first, base + last, action, episode, base + middle) for first, last, action, middle in spans]
        frames.append(small)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        table = np.array(holds, np.int64).reshape(-1, 5)
        np.savez_compressed(handle, frames=np.concatenate(frames), holds=table)
    skipped = "".join(f"; {problem}" for problem in problems)
    return f"{name}: {len(holds)} holds in {time.monotonic() - started:.0f} s{skipped}"


def _casts(name: str, recipe: dict[str, Any]) -> Iterator[tuple[int, str | None]]:
    """Yield players and weapon of every episode on a map."""
    if name.endswith("@behind"):
        yield from [(1, None)] * recipe["behind_episodes"]
    elif name in recipe["validation"]:
        yield from [(1, None)] * recipe["validation_episodes"]
    elif not name.startswith("freedoom"):
        yield from [(1, None)] * recipe["scenario_episodes"]
    else:
        many, armed = recipe["multiplayer_episodes"], recipe["random_weapon_episodes"]
        yield from [(4, None)] * many + [(1, "random")] * armed + [(1, None)] * (recipe["episodes"] - many - armed)


def _watch(
    played: Iterator[Frame], recipe: dict[str, Any]
) -> tuple[npt.NDArray[np.uint8], list[tuple[int, int, int, int]]]:
    """Shrink every ``stride``-th frame of an episode, and find where a clip of one action may begin."""
    height, width, stride, count = (recipe[key] for key in ("height", "width", "stride", "frames"))
    small: list[npt.NDArray[np.uint8]] = []
    rows: list[Frame] = []
    for tic, frame in enumerate(played):
        if tic % stride == 0:
            down, right = frame.picture.shape[0] // height, frame.picture.shape[1] // width
            blocks = frame.picture.reshape(height, down, width, right, 3)
            colour = blocks.sum(axis=(1, 3), dtype=np.uint16) // (down * right)
            small.append((colour @ BT601 >> 8).astype(np.uint8)[..., None])
        rows.append(Frame(frame.picture[:0], frame.buttons, frame.action, frame.variables, frame.cut))
    spans: list[tuple[int, int, int, int]] = []
    for span in action_spans(to_trajectory(rows, {})):
        first, last = -(-span.first // stride), (span.end - 1) // stride - count + 1
        if last >= first:
            middle = min(max((span.first + span.end) // 2 // stride - count // 2, first), last)
            spans.append((first, last, LABELS.index(span.label), middle))
    return np.array(small), spans


def record_all(names: list[str], folder: Path, recipe: dict[str, Any], log: Log) -> None:
    """Record maps, two at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with progress.task("recording", total=len(names), unit="maps") as task, ProcessPoolExecutor(2) as pool:
        for line in pool.map(record_map, names, [folder] * len(names), [recipe] * len(names)):
            log({"phase": "record", "map": line})
            task.advance(1, line)


def load_streams(names: list[str], folder: Path) -> list[Stream]:
    """Read the recordings of some maps."""
    streams = []
    for name in names:
        with np.load(folder / file_of(name), allow_pickle=False) as archive:
            streams.append(Stream(archive["frames"], archive["holds"]))
    return streams


# --- learning --------------------------------------------------------------------------------------------------------


def batches(streams: list[Stream], size: int, count: int, seed: int) -> Iterator[ClipBatch]:
    """Yield batches without end: every hold once per round, its clip beginning anywhere within it."""
    frames = np.concatenate([stream.frames for stream in streams])
    bases = np.cumsum([0] + [len(stream.frames) for stream in streams[:-1]])
    holds = np.concatenate([s.holds[:, :3] + [[base, base, 0]] for s, base in zip(streams, bases, strict=True)])
    random = np.random.default_rng(seed)
    while True:
        for chosen in np.array_split(random.permutation(len(holds)), max(len(holds) // size, 1)):
            starts = random.integers(holds[chosen, 0], holds[chosen, 1] + 1)
            clips = torch.from_numpy(frames[starts[:, None] + np.arange(count)])
            yield ClipBatch(clips, torch.from_numpy(holds[chosen, 2]))


def train(
    weights: dict[str, float], streams: list[Stream], recipe: dict[str, Any], steps: int, log: Log
) -> tuple[ClipNetwork, ZeroShotHead | None]:
    """Pretrain a network from random weights on some objectives; return it, and the head for actions if it has one."""
    torch.manual_seed(recipe["seed"])
    generator = torch.Generator().manual_seed(recipe["seed"])
    settings = recipe["training"]
    shape = ClipShape(
        recipe["frames"], recipe["height"], recipe["width"], 1, recipe["frames"] * recipe["stride"] / FRAME_RATE
    )
    network = ClipNetwork(shape, **recipe["network"])
    augment = Augmentation(generator, settings["augmentation"])
    width = network.feature_dim
    make: dict[str, Callable[[], Objective]] = {
        "inverse-dynamics": lambda: InverseDynamics(LABELS, width, augment, generator),
        "temporal-order": lambda: TemporalOrder(shape.frames, width, augment, generator),
        "two-views": lambda: TwoViews(width, augment),
    }
    objectives = {make[name](): weight for name, weight in weights.items()}
    pretrain(
        network,
        objectives,
        batches(streams, settings["batch"], shape.frames, recipe["seed"]),
        steps=steps,
        learning_rate=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        each=lambda row: log({"phase": "train", "objective": " + ".join(weights)} | row),
        every=100,
    )
    log({"phase": "trained", "objective": " + ".join(weights), "steps": steps, "clips": steps * settings["batch"]})
    heads = [o.head for o in objectives if isinstance(o, InverseDynamics)]
    head = ZeroShotHead(LABELS, heads[0].weight.detach(), heads[0].bias.detach()) if heads else None
    return network, head


def measure_views(
    network: ClipNetwork, head: ZeroShotHead | None, validation: dict[str, list[Stream]]
) -> dict[str, Any]:
    """Measure on each view of the validation maps; the unseen view's scores are called ``behind_...``."""
    return {
        f"{'' if view == 'first' else view + '_'}{name}": value
        for view, streams in validation.items()
        for name, value in measure(network, head, streams).items()
    }


def measure(
    network: ClipNetwork, head: ZeroShotHead | None, streams: list[Stream], labels: int = 200, seeds: int = 5
) -> dict[str, Any]:
    """Return accuracies on the odd episodes of the validation maps, means over maps: ``zero_shot``, and ``probe``:
    logistic regression on ``labels`` clips of the even episodes, mean over ``seeds`` draws."""
    found: dict[str, list[float]] = {"zero_shot": [], "probe": []}
    for stream in streams:
        clips = torch.from_numpy(stream.frames[stream.holds[:, 4][:, None] + np.arange(network.shape.frames)])
        with torch.no_grad():
            features = torch.cat([network(part) for part in torch.split(clips, 256)])
        actions, odd = stream.holds[:, 2], stream.holds[:, 3] % 2 == 1
        if head is not None:
            answers = head.logits(features).argmax(1).numpy()
            found["zero_shot"].append(float(np.mean(answers[odd] == actions[odd])))
        x = features.numpy()
        for seed in range(seeds):
            chosen = np.random.default_rng(seed).permutation(np.flatnonzero(~odd))[:labels]
            probe = LogisticRegression(C=0.1, max_iter=500).fit(x[chosen], actions[chosen])
            found["probe"].append(float(probe.score(x[odd], actions[odd])))
    return {name: round(float(np.mean(values)), 4) if values else None for name, values in found.items()}


# --- the whole road --------------------------------------------------------------------------------------------------


def write(network: ClipNetwork, head: ZeroShotHead | None, scores: dict[str, Any], objective: str, maps: list[str],
          recipe: dict[str, Any], folder: Path) -> ModelCard:  # fmt: skip
    """Write weights and card."""
    card = ModelCard(
        name="bundled:doom-clips",
        family="clip-cnn",
        modality="clip",
        parameters=0,  # counted when saved
        feature_dim=network.feature_dim,
        shape=network.shape,
        license="Apache-2.0",
        labels=head.labels if head else (),
        description=(
            f"Small clip network for first-person game frames, pretrained without human labels ({objective}) on "
            f"recordings of {len(maps)} maps of Freedoom 1 and 2 and ViZDoom's scenarios."
        ),
        facts={
            "width": network.width,
            "objective": objective,
            "validation": scores | {"maps": recipe["validation"], "labels": 200},
            "trained_on": maps,
            "never_seen": [*recipe["reserved"], *recipe["validation"]],
            "frames_from": "Freedoom (BSD-3-Clause) as bundled with ViZDoom; no frame is in the weights file",
            "made_by": "scripts/pretrain_doom_clips.py",
        },
    )
    return bundled.save(folder, PretrainedModel(card, network, head))


def main() -> None:
    """Parse the command line and follow the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for recordings, log and weights")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_suffix(".yaml"))
    parser.add_argument("--quick", action="store_true", help="few maps, seconds of training: to see that it works")
    parser.add_argument("--only", choices=["record", "compare", "train"], help="one phase alone")
    parser.add_argument("--objective", help="what to train and ship, instead of the winner of the comparison")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    recipe = yaml.safe_load(options.recipe.read_text()) | (QUICK if options.quick else {})
    if options.objective not in (None, *recipe["candidates"]):
        parser.error(f"--objective is one of: {', '.join(recipe['candidates'])}")
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)

    def log(row: dict[str, Any]) -> None:
        with (options.out / "log.jsonl").open("a") as handle:
            handle.write(json.dumps(row) + "\n")

    training, validation = maps_to_record(recipe, options.quick)
    recordings = options.out / "recordings"
    views = {"first": validation, "behind": [f"{name}@behind" for name in validation]}
    if options.only in (None, "record"):
        record_all([*itertools.chain(*views.values()), *training], recordings, recipe, log)
    seen = load_streams(training, recordings)
    held_out = {view: load_streams(names, recordings) for view, names in views.items()}
    progress.say(f"{sum(len(s.holds) for s in seen):,} holds on {len(training)} maps to learn from")

    scores: dict[str, dict[str, Any]] = {}
    if options.only in (None, "compare"):
        torch.set_num_threads(1)
        for name, weights in recipe["candidates"].items():
            network, head = train(weights, seen, recipe, recipe["comparison_steps"], log)
            scores[name] = measure_views(network, head, held_out)
            log({"phase": "compare", "objective": name, "steps": recipe["comparison_steps"]} | scores[name])
            progress.say(f"{name}: {scores[name]}")
        torch.set_num_threads(options.threads)
    if options.only in (None, "train"):
        chosen = options.objective or max(scores, key=lambda name: float(scores[name]["probe"]), default=None)
        if chosen is None:
            parser.error("--only train needs --objective")
        network, head = train(recipe["candidates"][chosen], seen, recipe, recipe["final_steps"], log)
        final = measure_views(network, head, held_out)
        card = write(network, head, final, chosen, training, recipe, options.out / "weights")
        log({"phase": "final", "objective": chosen, "digest": card.digest, "parameters": card.parameters} | final)
        progress.say(
            f"{chosen}, trained for longer: {final}; {card.parameters:,} parameters in {options.out / 'weights'}"
        )


if __name__ == "__main__":
    main()
