"""``ngp generate``: new levels from a run, in the format of the maker's own files, with pictures and facts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.deploy.level_files import MapPlace, fresh_folder, named_levels, write_levels
from newgameplus.errors import DataError, Problem, RunError, raise_problems
from newgameplus.evaluate.scene_evaluation import judge
from newgameplus.files import write_json
from newgameplus.games.conditions import Request, parse_requests, requests_from_words
from newgameplus.games.formats import read_document
from newgameplus.games.measures import measure
from newgameplus.games.rules.contract import Budget
from newgameplus.games.scenes import Level
from newgameplus.games.structure import learn_structure
from newgameplus.games.way_tiles import WayTiles
from newgameplus.generate.delivery import Delivered, Delivery, Maker
from newgameplus.generate.editing import CANDIDATES, Side, best_seams, has_seam, open_region, open_side
from newgameplus.generate.implied import implied_requests
from newgameplus.generate.sampler import Sampler
from newgameplus.pretrained.tile_model import TileModel, load_tile_model
from newgameplus.recipe_scene import SceneRecipe, parse_size
from newgameplus.run import Run
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game, scene_recipe
from newgameplus.scenarios.scene_makers import draw_sizes, make_maker, make_sampler, nearest_of, sample_raw
from newgameplus.train.device import threads_for, using_threads

__all__ = ["GenerationResult", "Order", "generate"]


@dataclass(frozen=True)
class Order:
    """What levels are wanted.

    Attributes:
        count: How many.
        size: ``HEIGHTxWIDTH``; None draws sizes of the training maps.
        requests: Value or range by measure.
        words: Phrases such as "many enemies, few pipes".
        caption: Free words, for models that learned captions.
        seed: The same seed gives the same levels.
        edit: A map to change instead of making new ones; ``FILE:NAME`` in a file of several.
        region: Column, row, width and height of what is made anew in it.
        extend: Side and number of columns or rows to add to it.
        temperature, top_p, structures, budget: Instead of the recipe's.
        growth: Also write an animation of each level.
        raw: Hand out samples as they come, verified but neither repaired nor chosen.
    """

    count: int = 1
    size: str | None = None
    requests: Mapping[str, str] = field(default_factory=dict)
    words: str = ""
    caption: str = ""
    seed: int = 0
    edit: Path | None = None
    region: tuple[int, int, int, int] | None = None
    extend: tuple[Side, int] | None = None
    temperature: float | None = None
    top_p: float | None = None
    structures: str | None = None
    budget: int | None = None
    growth: bool = False
    raw: bool = False


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """What was made.

    Attributes:
        levels: The delivered levels.
        files: For each level the files written: map, picture, animation.
        delivery: Figures of the delivery.
        folder: Where the files are; None if nothing was written.
        raw: Whether these are samples as they came, none of them delivered.
    """

    levels: tuple[Delivered, ...]
    files: tuple[tuple[Path, ...], ...]
    delivery: Delivery
    folder: Path | None
    raw: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the tiles as plain data, as ``levels.json`` holds it."""
        files = self.files or ((),) * len(self.levels)
        figures = self.delivery.as_dict()
        if self.raw:  # raw figures are never taken for delivered ones
            figures |= {"delivered": 0, "samples_per_level": None, "seconds_per_level": None}
        return {
            "folder": str(self.folder) if self.folder else None,
            "raw": self.raw,
            "playable": sum(made.answer.playable for made in self.levels),
            **figures,
            "failures": dict(self.delivery.failures),
            "closest": [_known(found) for found in self.delivery.closest],
            "levels": [_row(made, paths) for made, paths in zip(self.levels, files, strict=True)],
        }


def _row(made: Delivered, files: Sequence[Path]) -> dict[str, Any]:
    """Return one level but its tiles as plain data."""
    proof = made.answer.proof
    return {
        "name": made.level.name,
        "files": [str(path) for path in files],
        "height": made.level.height,
        "width": made.level.width,
        "requested": {request.measure: [request.low, request.high] for request in made.requests},
        "achieved": _known(made.achieved),
        "playable": made.answer.playable,
        "status": made.answer.status,
        "reason": made.answer.reason,
        "path": [list(cell) for cell in proof.cells] if proof else None,
        "moves": proof.moves if proof else "",
        "nearest": {"name": made.nearest[0], "distance": made.nearest[1]},
        "samples": made.samples,
        "repairs": made.repairs,
    }


def _known(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return values with None for those that are not known, as JSON has no word for that."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def generate(run: str | Path, count: int = 1, *, out: str | Path | None = None, **wishes: Any) -> GenerationResult:
    """Make levels with a run's model.

    Args:
        run: Run folder of the ``scene`` scenario.
        count: How many levels.
        out: New folder for them; None writes nothing.
        **wishes: The other fields of :class:`Order`, such as ``size="14x150"`` or ``requests={"enemies": "5"}``.

    Returns:
        The delivered levels and figures; fewer than asked for when the budget ended first, which is said.

    Raises:
        RunError: The folder is no finished scene run, or its maps are gone.
        DataError: A request cannot be understood, or no level at all could be delivered; says the nearest that can.
    """
    order = _checked(Order(count=count, **{name: value for name, value in wishes.items() if value is not None}))
    folder = fresh_folder(out)
    model, content, game, recipe = open_scene(Run.open(run))
    requests = _requests(order, game, content)
    canvas = _canvas(order, game, recipe, requests)
    rng = np.random.default_rng([order.seed, 3])
    tied = game.known if canvas.original is None else [canvas.original]
    wanted = [implied_requests(tied, game.measures, requests, rng) for _ in canvas.sizes]
    sampler = make_sampler(
        model, game, recipe, temperature=order.temperature, top_p=order.top_p, structures=order.structures
    )
    with using_threads(threads_for(model.network, recipe.train, decoding=True)):
        if order.raw:
            delivery = _raw(sampler, game, recipe, canvas, wanted, order)
        else:
            maker = make_maker(sampler, game, recipe, growth=order.growth, structures=order.structures)
            maker.samples = order.budget or maker.samples
            delivery = _deliver(maker, canvas, wanted, order)
    if not delivery.levels:
        raise _nothing(delivery, requests)
    if len(delivery.levels) < delivery.asked:
        why = ", ".join(f"{reason} {times}x" for reason, times in delivery.failures.most_common(3))
        progress.say(f"delivered {len(delivery.levels)} of {delivery.asked} within the budget ({why})")
    named = named_levels(delivery.levels, order.edit.stem if order.edit else "level")
    growth = recipe.data.scan if order.growth else None
    files = write_levels(folder, named, game, edited=canvas.edited, growth=growth) if folder else ()
    result = GenerationResult(tuple(named), tuple(files), delivery, folder, order.raw)
    if folder:
        write_json(folder / "levels.json", result.as_dict())
    return result


def _checked(order: Order) -> Order:
    """Return an order with paths as paths; refuse numbers that no level can be made with."""
    problems = []
    for name, value, fits, hint in (
        ("count", order.count, order.count >= 1, "give 1 or more"),
        ("seed", order.seed, order.seed >= 0, "give 0 or more"),
        ("temperature", order.temperature, 0 <= (order.temperature or 0) <= 100, "give a number from 0 to 100"),
        ("top_p", order.top_p, 0 < (1 if order.top_p is None else order.top_p) <= 1, "a share above 0, at most 1"),
        ("budget", order.budget, order.budget is None or order.budget >= 1, "give 1 or more"),
        ("structures", order.structures, order.structures in (None, "auto", "none"), "give auto or none"),
        ("region", order.region, order.region is None or len(order.region) == 4, "column, row, width, height"),
    ):
        if not fits:
            problems.append(Problem(f"{value!r} will not do", name, hint))
    raise_problems(problems, DataError, f"{len(problems)} options cannot be used")
    return replace(order, edit=Path(order.edit) if order.edit is not None else None)


def _raw(
    sampler: Sampler,
    game: SceneGame,
    recipe: SceneRecipe,
    canvas: _Canvas,
    wanted: Sequence[Sequence[Request]],
    order: Order,
) -> Delivery:
    """Make one sample for each level asked for, and say what the solver says of it."""
    samples = sample_raw(sampler, game, canvas.sizes, order.seed, requests=wanted, fixed=canvas.fixed)
    answers = judge(samples.levels, game.rules, Budget(nodes=recipe.generate.solver_nodes))
    nearest = nearest_of(game)
    levels = [
        Delivered(level, answer, tuple(asked), measure(level, game.measures, answer), nearest(level), 1, 0)
        for level, answer, asked in zip(samples.levels, answers, wanted, strict=True)
    ]
    return Delivery(len(levels), levels, samples=len(levels), seconds=samples.seconds)


def _deliver(maker: Maker, canvas: _Canvas, wanted: Sequence[Sequence[Request]], order: Order) -> Delivery:
    """Deliver levels; each changed map is the best of several candidates within the budget of one level."""
    fixed = canvas.fixed[0]
    if canvas.original is None or fixed is None:
        return maker.deliver(canvas.sizes, wanted, order.seed, canvas.fixed)
    maker.original = canvas.original.tiles
    each = min(CANDIDATES, maker.samples) if has_seam(maker.sampler, fixed) else 1
    maker.samples //= each
    delivery = maker.deliver(canvas.sizes * each, [*wanted] * each, order.seed, canvas.fixed * each)
    found = len(delivery.levels)
    delivery.levels = best_seams(maker.sampler, delivery.levels, fixed, order.count)
    delivery.asked = order.count
    if len(delivery.levels) < min(order.count, found):
        delivery.failures["the same as another"] += min(order.count, found) - len(delivery.levels)
    return delivery


def open_scene(run: Run) -> tuple[TileModel, dict[str, Any], SceneGame, SceneRecipe]:
    """Open a run's model and maps."""
    recipe = scene_recipe(run)
    model, content = load_tile_model(run.model_folder)
    try:
        game = load_scene_game(recipe, solve=False)
    except DataError as error:
        message = "the maps of this run cannot be read any more; new levels are written into copies of them"
        remedy = "put the maps back, or correct data.path in the run's recipe.yaml"
        raise RunError(message, source=recipe.data.path, remedy=remedy, problems=error.problems) from error
    way = WayTiles.of_names(game.stack.tileset, tuple(tile.name for tile in model.tiles), throughout=game.rules.grows)
    if way is None:
        message = "the maps have other tiles than the model learned"
        raise RunError(message, source=recipe.data.path, remedy="put the maps back as they were, or fit again")
    # Maps are not solved again here; what only a solver can measure was learnt all the same, and can be asked for.
    learned = np.array([n for n in content.get("train", game.train) if n < len(game.levels)], np.int64)
    game = replace(game, train=learned, structure=learn_structure([game.levels[n] for n in learned]))
    for name, values in content.get("values", {}).items():
        if len(values) != len(game.train):
            break  # maps were added or taken away since
        for number, value in zip(game.train, values, strict=True):
            game.values[number][name] = float("nan") if value is None else float(value)
    return model, content, replace(game, measures=model.measures, way=way), recipe


@dataclass(frozen=True, eq=False)
class _Canvas:
    """What is given of each level that is asked for.

    Attributes:
        sizes: Height and width of each.
        fixed: int32 [height, width] for each: given tiles, -1 where the model is free; None where all is free.
        edited: The map that is changed, if one is.
        original: That map as a level.
    """

    sizes: list[tuple[int, int]]
    fixed: list[npt.NDArray[np.int32] | None]
    edited: MapPlace | None = None
    original: Level | None = None


def _canvas(order: Order, game: SceneGame, recipe: SceneRecipe, requests: Sequence[Request]) -> _Canvas:
    """Return what is given of each level."""
    if order.edit is None:
        if order.region or order.extend:
            what = "--region" if order.region else "--extend"
            raise DataError(f"{what} needs a map to change", source=what, remedy="name it with --edit MAP")
        sizes = [_size(order.size)] * order.count if order.size else draw_sizes(game, recipe, order.count, order.seed)
        return _Canvas(_of_length(sizes, requests, order.size), [None] * order.count)
    if order.region is None and order.extend is None:
        remedy = "say which part: --region COLUMN,ROW,WIDTH,HEIGHT, or --extend right 50"
        raise DataError("nothing says what to change in the map", source="--edit", remedy=remedy)
    edited = _open_map(order.edit, game, recipe)
    original = game.stack.level(edited[0].scenes[edited[1]], order.edit.stem)
    drawn = original.with_tiles(_with_way(original, game, recipe))
    fixed = drawn.tiles
    if order.region is not None:
        fixed = open_region(drawn, order.region, str(order.edit))
    if order.extend is not None:
        side, count = order.extend
        high, wide = (0, max(0, count)) if side in ("left", "right") else (max(0, count), 0)
        _size(f"{original.height + high}x{original.width + wide}", "--extend")
        fixed = open_side(original.with_tiles(fixed), side, count)
    size = (int(fixed.shape[0]), int(fixed.shape[1]))
    return _Canvas([size] * order.count, [fixed] * order.count, edited, original)


def _with_way(level: Level, game: SceneGame, recipe: SceneRecipe) -> npt.NDArray[np.int32]:
    """Return a map as the model learned maps: with the solver's way drawn in, if it did and there is one."""
    proof = game.rules.solve(level, Budget(nodes=recipe.generate.solver_nodes)).proof if game.way.drawn else None
    return game.way.draw(level, game.rules.way(proof) if proof else ())


def _open_map(path: Path, game: SceneGame, recipe: SceneRecipe) -> MapPlace:
    """Return the map to change: one of the run's own, or any other in its format and with its tiles.

    Args:
        path: The file; ``FILE:NAME`` is one map of a file of several.
        game: The run's maps.
        recipe: The run's recipe.

    Raises:
        DataError: It cannot be read, or holds several maps, or one that cannot be generated.
    """
    wanted = ""
    if ":" in path.name and not path.exists():
        file, _, wanted = path.name.rpartition(":")
        path = path.with_name(file)
    legend = Path(recipe.data.legend) if recipe.data.legend else None
    own = [document for document in game.documents if document.path.resolve() == path.resolve()]
    document = own[0] if own else read_document(path, format=recipe.data.format, legend=legend)
    if not document.generable or not document.scenes:
        remedy = "give an orthogonal map; hexagonal and isometric ones are read and kept, not generated yet"
        raise DataError("this map cannot be generated", source=str(path), remedy=remedy)
    names = [scene.name for scene in document.scenes]
    if wanted in names:
        return document, names.index(wanted)
    if len(names) > 1 or wanted:
        message = f"no map of this file is called {wanted!r}" if wanted else f"this file holds {len(names)} maps"
        remedy = f"name one, as in --edit {path}:{names[0]}; it holds {', '.join(names[:20])}"
        raise DataError(message, source=str(path), remedy=remedy)
    return document, 0


def _of_length(sizes: list[tuple[int, int]], requests: Sequence[Request], asked: str | None) -> list[tuple[int, int]]:
    """Return sizes whose width is the length that is asked for, if one is.

    Raises:
        DataError: The size that is asked for has another.
    """
    for request in requests:
        if request.measure != "length":
            continue
        low, high = math.ceil(request.low), math.floor(request.high)
        if asked is not None and not low <= sizes[0][1] <= high:
            remedy = f"leave one of them out; the nearest is --size {sizes[0][0]}x{min(max(sizes[0][1], low), high)}"
            raise DataError(f"{request} columns, but the size is {asked}", source="--size", remedy=remedy)
        sizes = [_size(f"{height}x{min(max(width, low), high)}") for height, width in sizes]
    return sizes


def _size(text: str, source: str = "--size") -> tuple[int, int]:
    try:
        return parse_size(text)
    except ValueError as error:
        raise DataError(str(error), source=source, remedy="write rows x columns, such as 14x150") from error


def _requests(order: Order, game: SceneGame, content: Mapping[str, Any]) -> list[Request]:
    level = game.levels[0]
    requests = parse_requests(order.requests, level, game.measures)
    if order.words:
        known = {n: [float("nan") if v is None else v for v in values] for n, values in content["values"].items()}
        asked = {request.measure for request in requests}
        requests += [r for r in requests_from_words(order.words, level, known) if r.measure not in asked]
    if order.caption:
        from newgameplus.scenarios.scene_captions import requests_from_caption

        requests += requests_from_caption(order.caption, game, content)
    return requests


def _miss(found: Mapping[str, float], requests: Sequence[Request]) -> float:
    return sum(request.miss(found.get(request.measure, math.nan)) for request in requests)


def _nothing(delivery: Delivery, requests: Sequence[Request]) -> DataError:
    """Say why no level came out, and the nearest that did."""
    reasons = [
        Problem(f"{times} of {delivery.samples} samples: {why}") for why, times in delivery.failures.most_common(5)
    ]
    closest = [{name: value for name, value in found.items() if math.isfinite(value)} for found in delivery.closest]
    nearest = min(filter(None, closest), key=lambda found: _miss(found, requests), default=None)
    remedy = "allow more samples with --budget, or ask for less"
    if requests and nearest:
        told = ", ".join(f"{request.measure}={nearest.get(request.measure, math.nan):g}" for request in requests)
        remedy = f"the nearest that could be made: {told}; ask for that, or allow more samples with --budget"
    asked = ", ".join(str(request) for request in requests) or "a level that can be played"
    message = f"no level kept every promise within {delivery.samples} samples (asked: {asked})"
    return DataError(
        message, source="generate", remedy=remedy, problems=[Problem(message, "generate", remedy), *reasons]
    )
