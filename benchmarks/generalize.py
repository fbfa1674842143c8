"""Maps never seen: pretrained on k = 1, 2, 4, 8 maps, with and without augmentations suited to games.

    python benchmarks/generalize.py [--quick] [--out results-generalize] [--steps 600] [--seeds 3]

A small clip network learns which action was held (inverse dynamics, labels from the engine) on k maps of Doom: the same
number of clips and steps for every k. With *games*, clips are also varied in palette, HUD, resolution and frame rate
(``train/game_augment.py``) on top of light and position. Its own head is then asked for the action

- on *seen* maps: other episodes of the k maps,
- on *other* maps: the source maps that it did not learn from, which are seen ones for another k,
- on *unseen* maps: three that nothing here learns from (MAP02, MAP05, MAP07), and two of them from *behind* the player,

and it is fine-tuned with 100 labels (``lp-ft``, fresh head) of each unseen map, ``train.augment`` true or games, and
tested on that map's other episodes. The choice of defaults is made on three more maps (*validation*). A seed changes
weights, order, augmentation and which maps are the k. Intervals: t over seeds and maps (differences are paired).

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the tables of
docs/benchmarks/generalize.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import t as student

from engine_clips import LABELS, Stream, doom_stream, joined, middle_clips
from model_zoo import SHAPE, SOURCE_MAPS, train_backbone
from newgameplus import progress
from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.adapt.answers import classify
from newgameplus.files import write_json
from newgameplus.games.cache import cache_clips
from newgameplus.games.clips import load_clips
from newgameplus.games.record.doom import record_doom
from newgameplus.pretrained.clip_network import ClipNetwork
from newgameplus.recipe import TrainSettings
from newgameplus.scenarios.behavior_data import cache_folder
from newgameplus.train.augment import mirrored_classes
from newgameplus.train.examples import ClipExamples
from newgameplus.train.loop import train_classifier
from newgameplus.train.selfsupervision import InverseDynamics

COUNTS = (1, 2, 4, 8)
UNSEEN = ("freedoom2:MAP02", "freedoom2:MAP05", "freedoom2:MAP07")
BEHIND = ("freedoom2:MAP02", "freedoom2:MAP07")
VALIDATION = ("freedoom2:MAP11", "freedoom2:MAP20", "freedoom1:E2M4")
GAME_NAMES = ("palette", "hud", "resolution", "frame-rate")
HELD_OUT, VALIDATION_EPISODES, UNSEEN_EPISODES = 6, 6, 12
CLIPS, LABELLED, FINE_TUNE_STEPS = 1200, 100, 40
CLIPS_OF_AN_EPISODE = 15  # fewer than most have
FIRST_HELD_OUT = 500


@dataclass(frozen=True)
class Held:
    """Clips held in memory, as the cache would give them.

    Attributes:
        frames: uint8 [clips, frames, height, width, 1].
        targets: int64 [clips]; the action.
        episodes: [clips]; where each is from.
    """

    frames: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int64]
    episodes: npt.NDArray[Any]

    def gather(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return uint8 [n, frames, height, width, channels]."""
        chosen: npt.NDArray[np.uint8] = self.frames[indices]
        return chosen

    def halves(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return which clips are from the first half of the episodes, and which from the second."""
        names = np.unique(self.episodes)
        early = np.isin(self.episodes, names[: len(names) // 2])
        return np.flatnonzero(early), np.flatnonzero(~early)


class Bench:
    """The recordings, and what is done with them.

    Args:
        out: Where everything is kept.
        quick: Few episodes.
        steps: Of each pretraining.
    """

    def __init__(self, out: Path, quick: bool, steps: int) -> None:
        self.out, self.quick, self.steps = out, quick, steps
        self._held: dict[tuple[str, str], Held] = {}

    def episodes(self, count: int) -> int:
        """Return how many episodes to record where the full benchmark takes ``count``."""
        return 2 if self.quick else count

    def maps(self, count: int, seed: int) -> tuple[str, ...]:
        """Return the maps to learn from: with each seed others."""
        order = np.roll(np.arange(len(SOURCE_MAPS)), -4 * seed if seed < 2 else -seed)
        return tuple(SOURCE_MAPS[place] for place in order[:count])

    def learned(self, count: int, seed: int) -> Stream:
        """Return what a network on ``count`` maps learns from: the same number of clips for every count."""
        each = -(-CLIPS // count)
        episodes = self.episodes(each // CLIPS_OF_AN_EPISODE)
        streams = []
        for name in self.maps(count, seed):
            stream = doom_stream(name, episodes, self.out / "recordings", first=0)
            kept = np.random.default_rng([seed, count]).permutation(len(stream.holds))[:each]
            streams.append(Stream(stream.frames, stream.holds[np.sort(kept)]))
        return joined(streams, grey=True)

    def held(self, name: str, view: str = "first") -> Held:
        """Return the clips of a map that nobody pretrains on."""
        if (name, view) not in self._held:
            make = self._from_videos if name in UNSEEN else self._from_stream
            self._held[name, view] = make(name, view)
        return self._held[name, view]

    def _from_stream(self, name: str, view: str) -> Held:
        episodes = self.episodes(HELD_OUT if name in SOURCE_MAPS else VALIDATION_EPISODES)
        stream = doom_stream(name, episodes, self.out / "recordings", first=FIRST_HELD_OUT, view=view)
        clips, targets = middle_clips(joined([stream], grey=True))
        return Held(clips.numpy(), targets, stream.holds[:, 3])

    def _from_videos(self, name: str, view: str) -> Held:
        """Record as a user would (``ngp record``), and decode; the folder is that of ``choose.py``, if it is there."""
        folder = self.out / "clips" / f"{view}-{name.replace(':', '-')}"
        if not (folder / "actions.csv").exists():
            record_doom(name, self.episodes(UNSEEN_EPISODES), folder, seed=777, view=view, resume=True)
        cached = cache_clips(load_clips(folder, labels="actions.csv"), SHAPE, cache_folder())
        episodes = np.array([clip.group for clip in cached.clip_set.clips])
        return Held(cached.gather(np.arange(len(cached))), cached.targets(LABELS), episodes)

    def cell(self, count: int, games: bool, seed: int) -> dict[str, Any]:
        """Pretrain one network and measure it, or read what was kept."""
        path = self.out / "cells" / f"{count}-{'games' if games else 'plain'}-{seed}.json"
        if path.exists():
            content: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return content
        torch.manual_seed(seed)
        network = ClipNetwork(SHAPE, 12, 96)
        heads: list[InverseDynamics] = []
        about = train_backbone(
            network, self.learned(count, seed), LABELS, steps=self.steps, rate=2e-3, seed=seed, order=False,
            games=GAME_NAMES if games else (), keep=heads.append,
        )  # fmt: skip
        head = heads[0].head
        seen = self.maps(count, seed)
        groups = {"seen": seen, "other": [name for name in SOURCE_MAPS if name not in seen],
                  "unseen": UNSEEN, "validation": VALIDATION}  # fmt: skip
        own = {group: [self.asked(network, head, self.held(name)) for name in names] for group, names in groups.items()}
        own["behind"] = [self.asked(network, head, self.held(name, "behind")) for name in BEHIND]
        arms = {"true": True, "games": "games"} if not games else {"true": True}
        tuned: dict[str, dict[str, list[float]]] = {}
        for arm, augment in arms.items():
            tuned[arm] = {"unseen": [self.tuned(network, name, augment, seed) for name in UNSEEN]}
            if not games:
                tuned[arm]["validation"] = [self.tuned(network, name, augment, seed) for name in VALIDATION]
        content = {"maps": count, "games": games, "seed": seed, "pretraining": about, "own": own, "tuned": tuned,
                   "learned_from": list(seen), "clips": self.sizes()}  # fmt: skip
        write_json(path, content)
        return content

    def sizes(self) -> dict[str, int]:
        """Return how many clips each map is tested with."""
        return {f"{name} {view}": len(held.targets) for (name, view), held in sorted(self._held.items())}

    @torch.no_grad()
    def asked(self, network: ClipNetwork, head: torch.nn.Linear, held: Held) -> float:
        """Return the accuracy of the pretrained head."""
        network.eval()
        batches = torch.split(torch.from_numpy(held.frames), 256)
        answers = torch.cat([head(network(batch)).argmax(dim=1) for batch in batches]).numpy()
        return float((answers == held.targets).mean())

    def tuned(self, network: ClipNetwork, name: str, augment: bool | str, seed: int) -> float:
        """Fine-tune a copy with 100 labels of a map, and return its accuracy on the map's other episodes."""
        held = self.held(name)
        train, test = held.halves()
        train = np.random.default_rng(seed).permutation(train)[:LABELLED]
        torch.manual_seed(seed)
        copy = ClipNetwork(SHAPE, 12, 96)
        copy.load_state_dict(network.state_dict())
        classifier = ClipClassifier(copy, LABELS)
        settings = TrainSettings(steps=4 if self.quick else FINE_TUNE_STEPS, threads=1, device="cpu")
        examples = ClipExamples(held, train, held.targets[train], augment=augment, mirror=mirrored_classes(LABELS))
        with tempfile.TemporaryDirectory() as folder:
            train_classifier(
                classifier, plan_phases("lp-ft", len(copy.blocks()), 0.8), examples, None, settings,
                seed=seed, arm="tuned", checkpoint=Path(folder) / "checkpoint",
            )  # fmt: skip
        answers = classify(classifier, ClipExamples(held, test, held.targets[test]).batches(128)).argmax(axis=1)
        return float((answers == held.targets[test]).mean())


# --- what came out ---------------------------------------------------------------------------------------------------


def interval(values: Sequence[float], signed: bool = False) -> str:
    """Return mean and 95 % t-interval, in points."""
    mean, sign = 100 * statistics.fmean(values), "+" if signed else ""
    if len(values) < 2:
        return f"{mean:{sign}.1f}"
    half = float(student.ppf(0.975, len(values) - 1)) * 100 * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:{sign}.1f} ± {half:.1f}"


def own(cells: Iterable[Mapping[str, Any]], group: str) -> list[float]:
    """Return the accuracies of pretrained heads on a group of maps."""
    return [value for cell in cells for value in cell["own"][group]]


def gaps(cells: Iterable[Mapping[str, Any]]) -> list[float]:
    """Return for each seed the accuracy on seen maps minus that on unseen ones."""
    return [statistics.fmean(c["own"]["seen"]) - statistics.fmean(c["own"]["unseen"]) for c in cells]


def tables(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables as markdown."""
    counts = sorted({cell["maps"] for cell in cells})

    def some(count: int, games: bool) -> list[Mapping[str, Any]]:
        return [cell for cell in cells if cell["maps"] == count and cell["games"] == games]

    lines = ["| maps | augmentation | seen | other source maps | unseen | seen - unseen, by seed | unseen, from behind "
             "| unseen, 100 labels |", "|---:|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for count, games in itertools.product(counts, (False, True)):
        mine = some(count, games)
        if not mine:
            continue
        tuned = [value for cell in mine for value in cell["tuned"]["true"]["unseen"]]
        other = own(mine, "other")
        lines.append(
            f"| {count} | {'games' if games else 'light'} | {interval(own(mine, 'seen'))} "
            f"| {interval(other) if other else '-'} | {interval(own(mine, 'unseen'))} "
            f"| {', '.join(f'{100 * gap:+.1f}' for gap in gaps(mine))} | {interval(own(mine, 'behind'))} "
            f"| {interval(tuned)} |"
        )
    lines += ["", "| pretrained with games minus light, paired | unseen | unseen, from behind | validation "
              "| unseen, 100 labels |", "|---|---:|---:|---:|---:|"]  # fmt: skip
    every: dict[str, list[float]] = {}
    for count in counts:
        pairs = {name: differences(some(count, True), some(count, False), name) for name in _COLUMNS}
        for name, values in pairs.items():
            every.setdefault(name, []).extend(values)
        lines.append(f"| {count} maps | " + " | ".join(interval(pairs[name], True) for name in _COLUMNS) + " |")
    lines.append("| all | " + " | ".join(interval(every[name], True) for name in _COLUMNS) + " |")
    plain = [cell for cell in cells if not cell["games"]]
    lines += ["", "| fine-tuned with 100 labels | augment: true | augment: games | games minus true, paired |",
              "|---|---:|---:|---:|"]  # fmt: skip
    for group in ("validation", "unseen"):
        light, games = ([v for c in plain for v in c["tuned"][arm][group]] for arm in ("true", "games"))
        paired = [b - a for a, b in zip(light, games, strict=True)]
        lines.append(f"| {group} maps | {interval(light)} | {interval(games)} | {interval(paired, True)} |")
    return "\n".join(lines)


_COLUMNS = ("unseen", "behind", "validation", "tuned")


def differences(ours: Iterable[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    """Return differences of accuracy, paired by seed and map."""

    def values(cells: Iterable[Mapping[str, Any]]) -> list[float]:
        ordered = sorted(cells, key=lambda cell: cell["seed"])
        if name == "tuned":
            return [value for cell in ordered for value in cell["tuned"]["true"]["unseen"]]
        return own(ordered, name)

    return [a - b for a, b in zip(values(ours), values(theirs), strict=True)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two counts, one seed, few steps: does it run?")
    parser.add_argument("--out", type=Path, default=Path("results-generalize"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    quick = arguments.quick
    bench = Bench(
        (arguments.out / "quick" if quick else arguments.out).resolve(), quick, 4 if quick else arguments.steps
    )
    counts, seeds = (COUNTS[:2], 1) if quick else (COUNTS, arguments.seeds)
    cells: list[dict[str, Any]] = []
    for seed, count, games in itertools.product(range(seeds), counts, (False, True)):
        began = time.process_time()
        cells.append(bench.cell(count, games, seed))
        progress.say(f"{count} maps, {'games' if games else 'light'}, seed {seed}: {time.process_time() - began:.0f} s")
        write_json(bench.out / "generalize.json", {"cells": cells})
    print(tables(cells))


if __name__ == "__main__":
    main()
