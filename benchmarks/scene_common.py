"""What the benchmarks of scenes share: where the data are, runs and cells that go on where they stopped, and tables.

A benchmark's folder holds ``maps/`` (what is trained on), ``runs/`` (one run folder for each training, as ``ngp fit``
makes them) and ``cells/`` (one JSON file for each finished piece of work). Nothing that is there is worked out again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from newgameplus.errors import NewGamePlusError
from newgameplus.evaluate.scene_arms import Delivery as DeliveryFigures
from newgameplus.evaluate.scene_arms import SceneArm
from newgameplus.evaluate.scene_evaluation import SceneReference, judge, summarize
from newgameplus.evaluate.scene_intervals import share_interval
from newgameplus.files import write_bytes
from newgameplus.games.conditions import Request
from newgameplus.games.rules.contract import Answer, Budget
from newgameplus.games.scenes import Level
from newgameplus.generate.delivery import Maker
from newgameplus.generate.implied import implied_requests
from newgameplus.generate.sampler import Sampler
from newgameplus.recipe import recipe_settings
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.run import Run
from newgameplus.scenarios.scene import FINE_TUNED, SceneScenario, TrainedTiles
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game
from newgameplus.scenarios.scene_makers import sample_raw

ROOT = Path(__file__).parents[1]
CHUNK = 24
"""Levels made between two saves."""
Size = tuple[int, int]


def data_folder() -> Path:
    """Return where the measuring data should be."""
    return Path(os.environ.get("NGP_DATA", ROOT.parent / "shared" / "data"))


def find_data(*parts: str) -> Path:
    """Return a file or folder of the measuring data, or end with what was not found."""
    path = data_folder().joinpath(*parts).resolve()
    if not path.exists():
        sys.exit(
            f"not found: {path}\nThis benchmark measures with data that are not part of the project. "
            f"Set NGP_DATA to the folder that holds {'/'.join(parts)}."
        )
    return path


def read_arguments(about: str | None, out: str, defaults: Mapping[str, int], quick: Mapping[str, int]) -> Any:
    """Read the command line, with more options of a benchmark's own.

    Args:
        about: The benchmark's docstring.
        out: Folder by default.
        defaults: Whole numbers that can be set, such as ``steps``, and what they are if nothing is said.
        quick: What they are with ``--quick``.

    Returns:
        The arguments; ``out`` is absolute, and another folder with ``--quick``.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes that still run everything: does it run?")
    parser.add_argument("--out", type=Path, default=Path(out), help=f"folder for everything (default {out})")
    parser.add_argument("--threads", type=int, default=1, help="threads of the computation (default 1)")
    parser.add_argument("--arms", help="only these, separated by commas, in this order (mario and sokoban)")
    parser.add_argument("--run", type=Path, help="a finished mario run to use, where one is needed: OUT/runs/mario-0")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, help=f"default {value:,}, with --quick {quick[name]:,}")
    arguments = parser.parse_args()
    for name, value in defaults.items():
        if getattr(arguments, name.replace("-", "_")) is None:
            setattr(arguments, name.replace("-", "_"), quick[name] if arguments.quick else value)
    arguments.out = (arguments.out / "quick" if arguments.quick else arguments.out).resolve()
    if arguments.run is not None:
        arguments.run = arguments.run.resolve()
    torch.set_num_threads(arguments.threads)
    return arguments


def guarded(main: Callable[[], None]) -> None:
    """Run a benchmark; what a user can put right is told without a traceback."""
    try:
        main()
    except NewGamePlusError as error:
        sys.exit(str(error))


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Return what a file holds, or make it and keep it there."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, (json.dumps(_plain(make()), allow_nan=False) + "\n").encode())
    return json.loads(path.read_text(encoding="utf-8"))


def _plain(content: Any) -> Any:
    """Return content as JSON has it; what is not a finite number becomes null."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_maps(folder: Path, maps: Mapping[str, str], legend: Mapping[str, Iterable[str]] | None = None) -> Path:
    """Write maps of text by name, once, with a legend if there is one to write."""
    for name, text in maps.items():
        path = folder / f"{name}.txt"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(path, f"{text}\n".encode())
    if legend is not None and not (folder / "legend.json").is_file():
        words = {character: sorted(meanings) for character, meanings in legend.items()}
        write_bytes(folder / "legend.json", (json.dumps(words, indent=1) + "\n").encode())
    return folder


def make_recipe(maps: Path, seed: int, threads: int, **sections: Mapping[str, Any]) -> SceneRecipe:
    """Return a recipe for maps; sections are merged with what every benchmark sets."""
    content: dict[str, Any] = {"seed": seed, **sections}
    content["data"] = {"path": str(maps), **sections.get("data", {})}
    content["train"] = {"threads": threads, **sections.get("train", {})}
    content["evaluate"] = {"baselines": ("zero-shot", "scratch"), **sections.get("evaluate", {})}
    return SceneRecipe.model_validate(content)


@dataclass(eq=False)
class Bench:
    """One run folder, opened or begun: the maps, and models as they are asked for."""

    folder: Path
    recipe: SceneRecipe
    game: SceneGame

    @classmethod
    def begin(cls, folder: Path, recipe: SceneRecipe, *, solve: bool = True) -> Bench:
        """Begin a run folder, or go on with one.

        Args:
            folder: The run folder.
            recipe: Its recipe; a folder with another one is refused.
            solve: Solve every map before training, as ``ngp fit`` does; without it no measure of the solver is learnt.
        """
        if not (folder / "recipe.yaml").is_file():
            Run.create(recipe, folder)
        run = Run.open(folder)
        if _lasting(run.recipe) != _lasting(recipe):
            sys.exit(f"{folder} was begun with other settings: give another --out, or remove it")
        game = SceneScenario(run).load() if solve else load_scene_game(recipe, solve=False)
        return cls(folder, recipe, game)

    def train(self, arm: str = FINE_TUNED) -> TrainedTiles:
        """Train one arm (fine-tuned, zero-shot or scratch), go on with it, or load it."""
        run = Run.open(self.folder)
        with run.working():
            scenario = SceneScenario(run)
            start = scenario.choose(self.game)
            plans = [plan for plan in scenario.adapt(start) if plan.name == arm]
            return scenario.train(self.game, start, plans)[0]


def _lasting(recipe: Any) -> Any:
    """Return the settings that decide the result: all but the number of threads."""
    settings = json.loads(json.dumps(recipe_settings(recipe)))
    settings.get("train", {}).pop("threads", None)
    return settings


def raw_levels(
    folder: Path, sampler: Sampler, game: SceneGame, sizes: Sequence[Size], seed: int, title: str
) -> tuple[list[Level], float]:
    """Sample levels without a solver, ``CHUNK`` at a time, and keep each chunk; also the seconds it took."""

    def make(chunk: int, part: Sequence[Size]) -> dict[str, Any]:
        made = sample_raw(sampler, game, part, seed + 7919 * chunk, title)
        return {"levels": [level.tiles.tolist() for level in made.levels], "seconds": made.seconds}

    levels, seconds = [], 0.0
    for chunk, part in enumerate(_chunks(sizes)):
        content = kept(folder / f"raw-{seed}-{chunk:02d}-{len(part)}.json", lambda c=chunk, p=part: make(c, p))
        levels += _levels(game, content["levels"], f"raw {chunk}")
        seconds += content["seconds"]
    return levels, seconds


def deliver_levels(
    folder: Path,
    maker: Maker,
    game: SceneGame,
    sizes: Sequence[Size],
    seed: int,
    requests: Sequence[Sequence[Request]] | None = None,
) -> tuple[list[Level], DeliveryFigures, dict[str, int]]:
    """Deliver levels, ``CHUNK`` at a time, and keep each chunk.

    Returns:
        The levels, the figures of all chunks together, and why drafts were given up.
    """

    def make(chunk: int, numbers: Sequence[int]) -> dict[str, Any]:
        rng = np.random.default_rng([seed, chunk, 3])
        asked = [implied_requests(game.known, game.measures, requests[n] if requests else [], rng) for n in numbers]
        got = maker.deliver([sizes[n] for n in numbers], asked, seed + 7919 * chunk)
        return {
            "levels": [made.level.tiles.tolist() for made in got.levels],
            "distances": [made.nearest[1] for made in got.levels],
            "failures": dict(got.failures),
            **{name: getattr(got, name) for name in ("asked", "samples", "repairs", "seconds")},
        }

    parts = [
        kept(folder / f"delivered-{seed}-{chunk:02d}-{len(part)}.json", lambda c=chunk, p=part: make(c, p))
        for chunk, part in enumerate(_chunks(range(len(sizes))))
    ]
    levels = [level for part in parts for level in _levels(game, part["levels"], "delivered")]
    total = {key: sum(part[key] for part in parts) for key in ("asked", "samples", "repairs", "seconds")}
    figures = DeliveryFigures(delivered=len(levels), **total)
    failures: dict[str, int] = {}
    for part in parts:
        for why, times in part["failures"].items():
            failures[why] = failures.get(why, 0) + times
    return levels, figures, failures


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


def _levels(game: SceneGame, grids: Sequence[Any], name: str) -> list[Level]:
    template = game.levels[0]
    return [template.with_tiles(np.array(rows, np.int32), f"{name} {n}") for n, rows in enumerate(grids)]


def describe_levels(
    name: str,
    levels: Sequence[Level],
    reference: SceneReference,
    *,
    answers: Sequence[Answer] | None = None,
    nodes: int = 200_000,
    missing: int = 0,
    seconds: float | None = None,
    delivery: DeliveryFigures | None = None,
) -> dict[str, Any]:
    """Solve levels, unless that is done, and return their row of an evaluation as ``scene_evaluation`` makes it."""
    found = judge(levels, reference.rules, Budget(nodes=nodes), f"solving, {name}") if answers is None else answers
    arm = SceneArm(name, name, "reference", levels, found, missing, seconds, delivery=delivery)
    return summarize(arm, reference)


def share(count: int, total: int, *, percent: bool = True) -> str:
    """Write a share with Wilson's 95 % interval."""
    found = share_interval(count, total)
    if found is None:
        return "-"
    if percent:
        return f"{100 * found.value:.0f} ({100 * found.low:.0f} to {100 * found.high:.0f})"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def count_of(interval: Mapping[str, float] | None, samples: int) -> int:
    """Return how many of the samples a share stands for."""
    return round(interval["value"] * samples) if interval else 0


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """Write the mean of what is known, with the lowest and highest behind it."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    ends = f" ({min(known):.{digits}f} to {max(known):.{digits}f})" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.{digits}f}{ends}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as markdown."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def keep_results(out: Path, name: str, results: Any, text: str) -> str:
    """Keep raw results and table of what is done so far, as ``NAME.json`` and ``NAME.md``; return the table."""
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / f"{name}.json", (json.dumps(_plain(results), indent=1) + "\n").encode())
    write_bytes(out / f"{name}.md", f"{text}\n".encode())
    return text
