"""How the scene scenario makes levels: samplers and makers for a model, sizes and requests like those of the maps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.evaluate.scene_arms import ControlTrial
from newgameplus.evaluate.scene_metrics import NearestLevels
from newgameplus.games.conditions import Request, control_error
from newgameplus.games.measures import find_measure, measure
from newgameplus.games.rules.contract import Budget
from newgameplus.games.scenes import Level
from newgameplus.generate.constraints import Frame
from newgameplus.generate.counts import mend_counts
from newgameplus.generate.delivery import Maker, Nearest
from newgameplus.generate.hints import Hints
from newgameplus.generate.implied import implied_requests
from newgameplus.generate.sampler import Sampler
from newgameplus.pretrained.tile_model import TileModel
from newgameplus.recipe_scene import SceneRecipe, parse_size
from newgameplus.scenarios.scene_data import SceneGame

__all__ = ["SampleSet", "draw_sizes", "make_maker", "make_sampler", "nearest_of", "sample_raw", "try_control"]

_AT_ONCE = 8


@dataclass(eq=False)
class SampleSet:
    """Raw samples: as the model made them under hard structure, before any solver saw them."""

    levels: list[Level]
    seconds: float


def make_sampler(
    model: TileModel,
    game: SceneGame,
    recipe: SceneRecipe,
    *,
    temperature: float | None = None,
    top_p: float | None = None,
    structures: str | None = None,
) -> Sampler:
    """Return a sampler as the recipe says, or as told."""
    settings = recipe.generate
    hard = (structures or settings.structures) == "auto"
    return Sampler(
        model,
        game.levels[0],
        order=recipe.data.scan,
        frame=Frame.of(game.structure, recipe.data.scan, game.way.base) if hard else None,
        temperature=settings.temperature if temperature is None else temperature,
        top_p=settings.top_p if top_p is None else top_p,
        way=game.way,
    )


def nearest_of(game: SceneGame) -> Callable[[Level], Nearest]:
    """Return what finds the nearest training level, and the edit distance to it."""
    index = NearestLevels(game.known)

    def find(level: Level) -> Nearest:
        found = index.find(level)
        return found.name, found.distance

    return find


def make_maker(
    sampler: Sampler, game: SceneGame, recipe: SceneRecipe, *, growth: bool = False, structures: str | None = None
) -> Maker:
    """Return a maker that keeps every promise, with the recipe's budgets."""
    settings = recipe.generate
    return Maker(
        sampler,
        game.rules,
        game.measures,
        nearest_of(game),
        game.structure if (structures or settings.structures) == "auto" else None,
        Budget(nodes=settings.solver_nodes),
        settings.budget_samples,
        settings.repairs,
        settings.min_distance,
        growth,
        hints=hints_of(game),
    )


def hints_of(game: SceneGame) -> Hints:
    """Return the hints that the training maps give."""
    playable = [n for n in game.train if not game.answers or game.answers[n].playable] or list(game.train)
    return Hints(game.some(np.array(playable)), [game.values[n] for n in playable])


def draw_sizes(game: SceneGame, recipe: SceneRecipe, count: int, seed: int) -> list[tuple[int, int]]:
    """Return height and width of ``count`` levels: the recipe's size, or those of random training levels."""
    if recipe.generate.size is not None:
        return [parse_size(recipe.generate.size)] * count
    rng = np.random.default_rng([seed, 11])
    picks = rng.integers(len(game.known), size=count)
    return [(game.known[pick].height, game.known[pick].width) for pick in picks]


def sample_raw(
    sampler: Sampler,
    game: SceneGame,
    sizes: Sequence[tuple[int, int]],
    seed: int,
    title: str = "samples",
    *,
    requests: Sequence[Sequence[Request]] | None = None,
    fixed: Sequence[npt.NDArray[np.int32] | None] | None = None,
) -> SampleSet:
    """Make levels without verifying, repairing or choosing: one draft each, counts that are short made up for.

    Args:
        sampler: Makes them.
        game: The maps.
        sizes: Height and width of each.
        seed: The same seed gives the same levels.
        title: What the progress bar says.
        requests: What is asked of each; by default nothing but what the game implies.
        fixed: int32 [height, width] for each: given tiles, -1 where the model is free.
    """
    began, maps, structure = time.monotonic(), hints_of(game), game.structure
    levels: list[Level | None] = [None] * len(sizes)
    with progress.task(title, len(sizes), "levels") as bar:
        for group in _of_one_size(sizes):
            size, drafts = sizes[group[0]], []
            for number in group:
                rng = np.random.default_rng([seed, number, 5])
                wanted = requests[number] if requests else implied_requests(game.known, game.measures, [], rng)
                given = fixed[number] if fixed else None
                hints = maps.draw(*size, wanted, rng)
                drafts.append(sampler.draft(*size, (seed, number), wanted, given, hints))
            sampler.grow(drafts, max(size))
            for number, draft in zip(group, drafts, strict=True):
                mended = mend_counts(sampler, draft, structure)
                levels[number] = mended.with_tiles(mended.tiles, f"sample {number}")
            bar.advance(len(group))
    return SampleSet([level for level in levels if level is not None], time.monotonic() - began)


def _of_one_size(sizes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Yield numbers of levels that can be made together: of one size, and not too many."""
    order = sorted(range(len(sizes)), key=lambda n: sizes[n])
    while order:
        group = [n for n in order if sizes[n] == sizes[order[0]]][:_AT_ONCE]
        order = [n for n in order if n not in group]
        yield group


def random_requests(game: SceneGame, rng: np.random.Generator, measures: int = 2) -> list[Request]:
    """Return a request for a few measures, each with the value of another map, so that no map has them together.

    Only counts are asked for: they can be met exactly. What a solver tells of a whole level, such as the number of its
    pushes, can be steered, not set.
    """
    names = []
    for name in game.measures:
        values = {game.values[n].get(name) for n in game.train}
        one = find_measure(name, game.levels[0])
        if one.whole and one.additive and len(values) > 1 and name not in ("length", "solids"):
            names.append(name)
    for _ in range(100):
        picked = [str(name) for name in rng.permutation(np.array(names))[:measures]]
        drawn = [game.values[int(rng.choice(game.train))][name] for name in picked]
        wanted = [Request(name, value, value) for name, value in zip(picked, drawn, strict=True)]
        wanted = [request for request in wanted if request.low == request.low]
        together = any(all(r.miss(game.values[n][r.measure]) == 0 for r in wanted) for n in game.train)
        if wanted and not together and not _contradicts(wanted, game.levels[0]):
            return wanted
    return []


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def _contradicts(wanted: Sequence[Request], level: Level) -> bool:
    """Whether two requests count the same tiles, so that one may rule the other out."""
    seen: set[int] = set()
    for request in wanted:
        one = find_measure(request.measure, level)
        if one.meanings:
            tiles = set(np.nonzero(level.tileset.flags(*one.meanings)[:-1])[0].tolist())
        elif request.measure.startswith("tile:"):
            tiles = {level.tileset.index[request.measure.removeprefix("tile:")]}
        else:
            continue
        if tiles & seen:
            return True
        seen |= tiles
    return False


def try_control(
    sampler: Sampler, game: SceneGame, recipe: SceneRecipe, count: int, seed: int
) -> tuple[ControlTrial, list[dict[str, Any]]]:
    """Ask for random combinations that no map has, one sample each, and see how well they are met.

    Counts that are short are put in by hand as in a delivery; nothing is verified, repaired or chosen.

    Returns:
        The trial, and for each request what was asked and achieved.
    """
    exact: list[bool] = []
    errors: list[float | None] = []
    playable: list[bool] = []
    told: list[dict[str, Any]] = []
    maps, drafts = hints_of(game), []
    for number, size in enumerate(draw_sizes(game, recipe, count, seed + 1)):
        rng = np.random.default_rng([seed, number, 7])
        wanted = random_requests(game, rng)
        if not wanted:
            break
        asked = implied_requests(game.known, game.measures, wanted, rng)
        hints = maps.draw(*size, asked, rng)
        drafts.append((wanted, sampler.draft(*size, (seed, number, 9), asked, hints=hints)))
    with progress.task("requests", len(drafts), "requests") as bar:
        for group in _of_one_size([draft.scan.shape for _, draft in drafts]):
            sampler.grow([drafts[n][1] for n in group], max(drafts[group[0]][1].scan.shape))
            bar.advance(len(group))
    for wanted, draft in drafts:
        level = mend_counts(sampler, draft, game.structure)
        answer = game.rules.solve(level, Budget(nodes=recipe.generate.solver_nodes))
        achieved = measure(level, [request.measure for request in wanted], answer)
        missed = control_error(wanted, achieved)
        exact.append(all(value == 0 for value in missed.values()))
        finite = [value for value in missed.values() if np.isfinite(value)]
        errors.append(float(np.mean(finite)) if finite else None)
        playable.append(answer.playable)
        told.append({"asked": [str(request) for request in wanted], "achieved": _finite(achieved)})
    return ControlTrial(exact, errors, playable), told
