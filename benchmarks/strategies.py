"""How weights may move: all strategies, two backbones, 50 / 200 / 1,000 labels, on maps seen and unseen in fine-tuning.

    python benchmarks/strategies.py [--quick] [--out results-strategies] [--workers 1]

Three maps that no pretraining saw, eight actions, and a head that starts afresh, as for classes that the model has no
names for. A cell is one backbone, number of labels and seed;
each seed takes another map. Labels come from that map's training episodes; *seen* is the accuracy on held-out episodes
of the same map, *unseen* the mean over held-out episodes of the two other maps. Backbones:

- ``bundled``: ``bundled:doom-clips``, made by scripts/pretrain_doom_clips.py; it looks from behind the player, which
  its pretraining never did.
- ``resnet``: a small ResNet of the Transformers library over single frames, pretrained by this script on six other maps
  (inverse dynamics, no human labels), pooled over time; it looks through the player's eyes, as its pretraining did.

Every strategy has the same number of steps. WiSE-FT and soup follow LP-FT and hold back a fifth of the labels to choose
by. A unit (strategy of a cell) is kept as one JSON file, so that an interrupted benchmark goes on where it stopped.
Writes strategies.json; ``--page`` writes docs/benchmarks/strategies.md from it.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import statistics
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MAPS = ("freedoom2:MAP02", "freedoom2:MAP05", "freedoom2:MAP07")
SOURCE_MAPS = tuple(f"freedoom2:MAP{number:02d}" for number in (1, 3, 4, 6, 8, 9))
BACKBONES = ("bundled", "resnet")
VIEWS = {"bundled": "behind", "resnet": "first"}
DEFAULT = "lp-ft"
STRATEGIES = (
    "lp-ft", "probe", "full", "lora", "l2-sp", "gradual", "surgical-first", "surgical-middle", "surgical-last",
)  # fmt: skip
AFTER = {"lp-ft + wise-ft": "wise-ft", "lp-ft + soup": "soup"}
ARMS = (*STRATEGIES, *AFTER)
TEST_SHARE = 0.25
TESTED = 200
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}

INTRO = """\
# How weights may move: strategies compared

    python benchmarks/strategies.py             # everything; goes on where it stopped
    python benchmarks/strategies.py --quick     # tiny sizes: does it run?
    python benchmarks/strategies.py --page benchmarks/results/strategies.json   # this page again

Options: `--out` (results-strategies), `--workers` (1). The raw results are in `benchmarks/results/strategies.json`.

Three maps that no pretraining saw, eight actions, and a head that starts afresh; {steps} steps of 32 clips for every
strategy (at least four epochs). Each seed takes another map: labels come from its training episodes; *seen* is the
accuracy on {tested} clips of its held-out episodes, *unseen* the mean over {tested} clips each of the two other maps.
± is a 95 % t interval over seeds; differences are paired by seed. *s* is processor time of training on a core shared
with others; *MB* is what a step of the last phase holds: weights, gradients, moments, and what waits for the backward
pass. WiSE-FT and soup hold back a fifth of the labels to choose by.

Backbones: `bundled` is `bundled:doom-clips` (0.76 million weights); it looks from behind the player, which its
pretraining never did. `resnet` is a ResNet of Transformers with 0.89 million over single frames, pretrained by the
script on six other maps {trained}, pooled over time; it looks through the player's eyes, as its pretraining did.

{counted}.
"""

READING = (
    "The default is lp-ft. It stays so unless a strategy is better in several of these tables, seen and unseen.",
    "The small resnet averages over places and hardly sees where things move: its rows lie a few points apart, near a",
    "third where guessing among eight actions would give an eighth, and its intervals tell almost no strategies apart.",
    "What is not measured here: longer trainings, other games, large backbones with hub weights, other ranks of lora",
    "and strengths of l2-sp than the defaults, which were not tuned.",
)


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    episodes: int = 54
    steps: int = 100
    seeds: tuple[int, ...] = (0, 1, 2)
    labels: tuple[int, ...] = (200, 50, 1000)
    pretraining_episodes: int = 10
    pretraining_steps: int = 1600
    maps: tuple[str, ...] = MAPS


QUICK = Sizes(8, 12, (0,), (50,), 1, 5, MAPS[:2])


@dataclass(frozen=True)
class Cell:
    """One backbone, map, number of labels and seed."""

    backbone: str
    map: str
    labels: int
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell's files."""
        return f"{self.backbone}-{self.map.replace(':', '-')}-{self.labels}-{self.seed}"


# --- recordings and pretraining --------------------------------------------------------------------------------------


def clips_folder(out: Path, name: str, view: str) -> Path:
    """Where the recording of a map lies."""
    return out / "clips" / f"{view}-{name.replace(':', '-')}"


def record(name: str, view: str, episodes: int, out: Path) -> None:
    """Record one map once."""
    from newgameplus.verbs import record_doom

    record_doom(name, episodes, clips_folder(out, name, view), seed=777, view=view, resume=True)


def pretraining_script() -> Any:
    """Load scripts/pretrain_doom_clips.py, whose recordings and batches the small ResNet learns from as well."""
    spec = importlib.util.spec_from_file_location("pretrain_doom_clips", ROOT / "scripts" / "pretrain_doom_clips.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("scripts/pretrain_doom_clips.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def pretrain_resnet(out: Path, sizes: Sizes) -> Path:
    """Pretrain a ResNet of 0.9 million weights on the source maps, once; return its checkpoint folder."""
    folder = out / "resnet"
    if (folder / "trained.json").is_file():
        return folder
    import torch
    import transformers
    import yaml

    from newgameplus.pretrained.catalog import load_pretrained
    from newgameplus.train.objective_learner import pretrain
    from newgameplus.train.selfsupervision import Augmentation, InverseDynamics

    torch.set_num_threads(1)
    script = pretraining_script()
    recipe = yaml.safe_load((ROOT / "scripts" / "pretrain_doom_clips.yaml").read_text())
    recipe |= {"height": 48, "width": 64, "frames": 4, "stride": 3, "multiplayer_episodes": 0}
    recipe["episodes"] = sizes.pretraining_episodes
    recordings = out / "source"
    recordings.mkdir(parents=True, exist_ok=True)
    for name in SOURCE_MAPS:
        print(script.record_map(name, recordings, recipe), file=sys.stderr, flush=True)
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=32, hidden_sizes=[32, 64, 128, 192], depths=[1, 1, 1, 1], layer_type="basic"
    )
    network = transformers.ResNetModel(config)
    network.save_pretrained(folder)
    size = {"height": 48, "width": 64}
    preprocessing = {"do_rescale": True, "do_normalize": True, "image_mean": [0.45], "image_std": [0.25], "size": size}
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_resize": True, **preprocessing}))
    model = load_pretrained(f"transformers:{folder}", options={"frames": 4})
    generator = torch.Generator().manual_seed(0)
    objective = InverseDynamics(script.LABELS, model.backbone.feature_dim, Augmentation(generator), generator)
    batches = script.batches(script.load_streams(list(SOURCE_MAPS), recordings), 64, 4, 0)
    rows: list[dict[str, Any]] = []
    began = time.process_time()
    pretrain(
        model.backbone, {objective: 1.0}, batches, steps=sizes.pretraining_steps, each=rows.append, half_precision=False
    )
    seconds = round(time.process_time() - began)
    model.backbone.network.save_pretrained(folder)  # type: ignore[operator,union-attr]
    (folder / "trained.json").write_text(
        json.dumps({"steps": sizes.pretraining_steps, "batch": 64, "seconds": seconds, "rows": rows})
    )
    return folder


# --- one unit of work ------------------------------------------------------------------------------------------------


def load_start(backbone: str, out: Path) -> Any:
    """Load a backbone as its pretraining left it."""
    from newgameplus.pretrained.catalog import load_pretrained

    if backbone == "bundled":
        return load_pretrained("bundled:doom-clips")
    return load_pretrained(f"transformers:{out / 'resnet'}", options={"frames": 4})


@functools.lru_cache(maxsize=4)
def load_map(recording: Path, episodes: int, labels: int, validation: float, seed: int, shape: Any) -> Any:
    """Load the clips of a map with so many labels, split by episodes."""
    from newgameplus.recipe import DataSettings
    from newgameplus.scenarios.behavior_data import load_game

    first_test = round(episodes * (1 - TEST_SHARE))
    data = DataSettings(
        path=str(recording),
        labels="actions.csv",
        max_labels=labels,
        validation=validation,
        test_groups=tuple(f"episode-{number:03d}" for number in range(first_test, episodes)),
    )
    return load_game(data, shape, seed)


def accuracy(classifier: Any, game: Any, shape: Any) -> float:
    """Accuracy on clips of held-out episodes, the same ones for every arm; labels are compared by name."""
    import numpy as np

    from newgameplus.adapt.answers import classify

    test = np.random.default_rng(0).permutation(game.split.test)[:TESTED]
    answers = classify(classifier, game.examples(shape, test).batches(64)).argmax(axis=1)
    right = [classifier.labels[a] == game.labels[t] for a, t in zip(answers, game.targets[test], strict=True)]
    return float(np.mean(right))


def training_bytes(classifier: Any, phases: Any, batch: Any) -> int:
    """Bytes of a step of the last phase: weights, gradients, two moments, and what waits for the backward pass."""
    import torch

    from newgameplus.adapt import apply_phase, training_mode
    from newgameplus.adapt.adapters import add_adapters, merge_adapters

    phase = phases[-1]
    if phase.adapter_rank:
        add_adapters(classifier.backbone, phase.adapter_rank)
    apply_phase(classifier, phase)
    training_mode(classifier, phase)
    weights = {parameter.data_ptr() for parameter in classifier.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = classifier(batch).logsumexp(dim=1).mean()
        waiting = sum(kept.values())
    del loss
    moving = sum(parameter.numel() for parameter in classifier.parameters() if parameter.requires_grad)
    whole = sum(parameter.numel() for parameter in classifier.parameters())
    if phase.adapter_rank:
        merge_adapters(classifier.backbone)
    classifier.requires_grad_(True)
    return 4 * whole + 12 * moving + waiting


def train_arm(cell: Cell, arm: str, sizes: Sizes, out: Path) -> dict[str, Any]:
    """Train one strategy of a cell and measure it."""
    import tempfile

    import torch

    from newgameplus.adapt import ClipClassifier, plan_phases, trainable_parameters
    from newgameplus.recipe import TrainSettings
    from newgameplus.train.loop import train_classifier

    torch.set_num_threads(1)
    torch.manual_seed(cell.seed)
    start = load_start(cell.backbone, out)
    shape = start.card.shape
    share = 0.2 if arm in AFTER else 0.0
    recorded = {name: clips_folder(out, name, VIEWS[cell.backbone]) for name in sizes.maps}
    game = load_map(recorded[cell.map], sizes.episodes, cell.labels, share, cell.seed, shape)
    strategy = DEFAULT if arm in AFTER else arm
    phases = plan_phases(strategy, len(start.backbone.blocks()), 0.8)
    settings = TrainSettings(steps=sizes.steps, threads=1)
    classifier = ClipClassifier(start.backbone, game.labels)
    train = game.examples(shape, game.split.train, augment=settings.augment, mirror=True)
    validation = game.examples(shape, game.split.validation) if share else None
    example = torch.from_numpy(game.at(shape).gather(game.split.train[:32]))
    size = training_bytes(classifier, phases, example)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: Path(folder) / f"{name}.safetensors"  # noqa: E731
        more: dict[str, Any] = {}
        if share:
            from newgameplus.train.snapshots import Snapshots

            more["keep"] = Snapshots(path, "arm", phases, 5)
        result = train_classifier(
            classifier, phases, train, validation, settings, seed=cell.seed, arm="fine-tuned", checkpoint=path("arm"),
            **more,
        )  # fmt: skip
        note = ""
        if share:
            from newgameplus.train.weight_choice import choose_weights

            epochs = phase_epochs_of(phases, game, settings)
            choice = choose_weights(AFTER[arm], classifier, [more["keep"]], epochs, train, validation, settings)
            note = choice.text
    seconds = time.process_time() - began
    others = [load_map(recorded[name], sizes.episodes, 50, 0.0, 0, shape) for name in recorded if name != cell.map]
    unseen = [accuracy(classifier, other, shape) for other in others]
    return {
        "seen": accuracy(classifier, game, shape),
        "unseen": statistics.fmean(unseen),
        "trainable_parameters": trainable_parameters(classifier, phases),
        "seconds": round(seconds, 2),
        "bytes": size,
        "steps": result.steps,
        "note": note,
    }


def phase_epochs_of(phases: Any, game: Any, settings: Any) -> int:
    """Epochs of the last phase."""
    from newgameplus.train.loop import phase_epochs

    return phase_epochs(phases, len(game.split.train), settings)[-1]


def run_unit(cell: Cell, arm: str, sizes: Sizes, out: Path) -> dict[str, Any]:
    """Train one arm of a cell, or read what was kept."""
    kept = out / "cells" / f"{cell.name}-{arm.replace(' ', '')}.json"
    if kept.is_file():
        content: dict[str, Any] = json.loads(kept.read_text())
        return content
    content = asdict(cell) | {"arm": arm} | train_arm(cell, arm, sizes, out)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.replace(kept)
    return content


# --- tables ----------------------------------------------------------------------------------------------------------


def by_seed(units: list[dict[str, Any]], arm: str, key: str) -> dict[int, float]:
    """Value of an arm for each seed."""
    return {unit["seed"]: unit[key] for unit in units if unit["arm"] == arm}


def text(values: list[float], seeds: int | None = None, *, signed: bool = False) -> str:
    """Mean and 95 % t-interval over seeds; tells how many there are if they are not ``seeds``."""
    if not values:
        return "-"
    shown = f"{statistics.fmean(values):{'+' if signed else ''}.3f}"
    if len(values) == 1:
        return f"{shown} (1 seed)"
    half = STUDENT[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    return f"{shown} ± {half:.3f}" + ("" if seeds in (None, len(values)) else f" ({len(values)} seeds)")


def table(units: list[dict[str, Any]]) -> list[str]:
    """One table: a backbone and a number of labels."""
    seeds = len({unit["seed"] for unit in units})
    lines = [
        "| strategy | seen | unseen | seen, above lp-ft | unseen, above lp-ft | weights that move | s | MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    found = [arm for arm in ARMS if any(unit["arm"] == arm for unit in units)]
    for arm in found:
        those = [unit for unit in units if unit["arm"] == arm]
        row = [text(list(by_seed(units, arm, key).values()), seeds) for key in ("seen", "unseen")]
        for key in ("seen", "unseen"):
            row.append("" if arm == DEFAULT else text(paired(units, arm, key), seeds, signed=True))
        seconds = statistics.fmean(unit["seconds"] for unit in those)
        row += [f"{those[0]['trainable_parameters']:,}", f"{seconds:.1f}", f"{those[0]['bytes'] / 1e6:.0f}"]
        lines.append(f"| {arm} | " + " | ".join(row) + " |")
    return lines


def averages(units: list[dict[str, Any]]) -> list[str]:
    """Each arm's difference to the default over all cells that both have: one line an arm."""
    lines = [
        "| strategy | cells | seen, above lp-ft | unseen, above lp-ft | cells won / lost, unseen |",
        "|---|---:|---:|---:|---:|",
    ]
    place = lambda unit: (unit["backbone"], unit["map"], unit["labels"], unit["seed"])  # noqa: E731
    base = {place(unit): unit for unit in units if unit["arm"] == DEFAULT}
    for arm in ARMS:
        pairs = [(unit, base[place(unit)]) for unit in units if unit["arm"] == arm and place(unit) in base]
        if arm == DEFAULT or not pairs:
            continue
        seen, unseen = ([ours[key] - theirs[key] for ours, theirs in pairs] for key in ("seen", "unseen"))
        won, lost = sum(value > 0 for value in unseen), sum(value < 0 for value in unseen)
        means = f"{statistics.fmean(seen):+.3f} | {statistics.fmean(unseen):+.3f}"
        lines.append(f"| {arm} | {len(pairs)} | {means} | {won} / {lost} |")
    return lines


def tables(units: list[dict[str, Any]]) -> str:
    """Return all tables as markdown."""
    lines: list[str] = []
    for backbone in BACKBONES:
        for labels in sorted({unit["labels"] for unit in units}):
            some = [unit for unit in units if (unit["backbone"], unit["labels"]) == (backbone, labels)]
            if some:
                lines += [f"**{backbone}, {labels} labels**", "", *table(some), ""]
    return "\n".join([*lines, "**over all cells**", "", *averages(units)])


def paired(units: list[dict[str, Any]], arm: str, key: str) -> list[float]:
    """An arm minus the default, for each seed that has both."""
    ours, base = by_seed(units, arm, key), by_seed(units, DEFAULT, key)
    return [ours[seed] - base[seed] for seed in ours if seed in base]


def verdict(units: list[dict[str, Any]]) -> list[str]:
    """Say which arms differ from the default by more than their interval, and whether the default stands."""
    better: list[str] = []
    worse: list[str] = []
    compared = 0
    for backbone in BACKBONES:
        for labels in sorted({unit["labels"] for unit in units}):
            some = [unit for unit in units if (unit["backbone"], unit["labels"]) == (backbone, labels)]
            for arm in ARMS:
                for key in ("seen", "unseen"):
                    values = paired(some, arm, key) if arm != DEFAULT else []
                    if len(values) < 3:
                        continue
                    compared += 1
                    half = STUDENT[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
                    if abs(statistics.fmean(values)) > half:
                        place = better if statistics.fmean(values) > 0 else worse
                        place.append(f"{arm} ({backbone}, {labels} labels, {key})")
    lines = [
        f"Of {compared} comparisons with {DEFAULT} over three seeds (95 % intervals, uncorrected for their number):"
    ]
    lines += ["", f"- better: {'; '.join(better) or 'none'}", f"- worse: {'; '.join(worse) or 'none'}"]
    lines += ["", *READING]
    return lines


def page(units: list[dict[str, Any]], pretraining: dict[str, Any] | None) -> str:
    """Return docs/benchmarks/strategies.md."""
    sizes = Sizes()
    whole = len(plan(sizes))
    counted = f"{len(units)} of {whole} units are done" if len(units) < whole else f"All {whole} units are done"
    trained = (
        f"({pretraining['steps']} steps of {pretraining['batch']} clips, {pretraining['seconds']} s of processor time)"
        if pretraining
        else "(not done yet)"
    )
    intro = INTRO.format(steps=sizes.steps, tested=TESTED, trained=trained, counted=counted)
    return "\n".join([intro, tables(units), "", "## What the tables say", "", *verdict(units), ""])


# --- the whole road --------------------------------------------------------------------------------------------------


def plan(sizes: Sizes) -> list[tuple[Cell, str]]:
    """Return all units of work, the most telling first."""
    cells = [
        Cell(backbone, sizes.maps[seed % len(sizes.maps)], labels, seed)
        for backbone in BACKBONES
        for labels in sizes.labels
        for seed in sizes.seeds
    ]
    return [(cell, arm) for cell in cells for arm in ARMS]


def write_results(out: Path, units: list[dict[str, Any]]) -> None:
    """Write strategies.json: all units so far, and how the ResNet was pretrained."""
    trained = out / "resnet" / "trained.json"
    pretraining = json.loads(trained.read_text()) if trained.is_file() else None
    results = {"pretraining": pretraining, "units": units}
    (out / "strategies.json").write_text(json.dumps(results, indent=1))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--out", type=Path, default=Path("results-strategies"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only-pretrain", action="store_true", help="record and pretrain, then stop")
    parser.add_argument("--page", type=Path, help="only write docs/benchmarks/strategies.md from such a JSON file")
    arguments = parser.parse_args()
    if arguments.page:
        results = json.loads(arguments.page.read_text())
        text_of_page = page(results["units"], results["pretraining"])
        (ROOT / "docs" / "benchmarks" / "strategies.md").write_text(text_of_page)
        return
    sizes = QUICK if arguments.quick else Sizes()
    out: Path = (arguments.out / "quick" if arguments.quick else arguments.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for view in VIEWS.values():
        for name in sizes.maps:
            record(name, view, sizes.episodes, out)
    if arguments.only_pretrain:
        pretrain_resnet(out, sizes)
        return
    wanted = plan(sizes)
    units: list[dict[str, Any]] = []

    def collect(future: Future[dict[str, Any]]) -> None:
        units.append(future.result())
        write_results(out, units)
        print(f"{len(units)} of {len(wanted)} done", file=sys.stderr, flush=True)

    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        pretrained = False
        for cell, arm in wanted:
            if cell.backbone == "resnet" and not pretrained:
                pool.submit(pretrain_resnet, out, sizes).result()
                pretrained = True
            pool.submit(run_unit, cell, arm, sizes, out).add_done_callback(collect)
    print(tables(units))


if __name__ == "__main__":
    main()
