"""Sampling: deterministic by seed, independent of batch mates, true to what is given and to hard structure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.scripted_tiles import empty_level, scripted_model
from tests.small_tiles import FACTS, LEGEND, small_model

from newgameplus.games.conditions import Request
from newgameplus.games.scanning import Order, to_scan
from newgameplus.games.scenes import Level
from newgameplus.games.structure import learn_structure
from newgameplus.generate.constraints import Frame
from newgameplus.generate.counts import complete_level, mend_counts
from newgameplus.generate.sampler import Draft, Sampler
from newgameplus.pretrained.tile_model import TileModel

TILES = {".": ("empty",), "#": ("solid",), "e": ("enemy",), "@": ("start",)}


def grown(sampler: Sampler, drafts: list[Draft]) -> list[Level]:
    sampler.grow(drafts, len(drafts[0].scan))
    return [sampler.level(draft) for draft in drafts]


def make(sampler: Sampler, height: int, width: int, seed: int, requests: list[Request] | None = None) -> Level:
    return grown(sampler, [sampler.draft(height, width, (seed,), requests or [])])[0]


def small_sampler(**settings: object) -> Sampler:
    return Sampler(small_model(context=48), empty_level(LEGEND), **settings)  # type: ignore[arg-type]


def fixed_with(height: int, width: int, cells: dict[tuple[int, int], int]) -> np.ndarray:
    fixed = np.full((height, width), -1, np.int32)
    for cell, tile in cells.items():
        fixed[cell] = tile
    return fixed


def test_the_same_seed_makes_the_same_level_and_another_seed_another() -> None:
    sampler = small_sampler()
    first = make(sampler, 5, 9, 1).tiles
    assert (make(sampler, 5, 9, 1).tiles == first).all()
    assert (make(sampler, 5, 9, 2).tiles != first).any()


def test_a_level_does_not_depend_on_what_is_made_beside_it() -> None:
    sampler = small_sampler()
    given = fixed_with(4, 8, {})
    given[:, 2:5] = 1  # whole columns that the others are asked for
    alone = [grown(sampler, [sampler.draft(4, 8, (n,), (), given if n == 1 else None)])[0] for n in range(4)]
    mates = grown(sampler, [sampler.draft(4, 8, (n,), (), given if n == 1 else None) for n in range(4)])
    for one, other in zip(alone, mates, strict=True):
        assert (one.tiles == other.tiles).all()


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_levels_may_be_wider_than_the_context(order: Order) -> None:
    sampler = small_sampler(order=order)
    height, width = (4, 60) if order == "columns" else (60, 4)
    level = make(sampler, height, width, 3)
    assert level.tiles.shape == (height, width)
    assert (level.tiles >= 0).all()
    assert len(np.unique(level.tiles)) > 1
    high = make(sampler, 40, 3, 3) if order == "columns" else make(sampler, 3, 40, 3)  # two lines fill the context
    assert (high.tiles >= 0).all()


def test_rows_are_made_as_columns_are() -> None:
    by_columns, by_rows = small_sampler(order="columns"), small_sampler(order="rows")
    one, other = make(by_columns, 4, 7, 5), make(by_rows, 7, 4, 5)
    assert (to_scan(one.tiles, "columns") == to_scan(other.tiles, "rows")).all()


def test_growing_in_steps_makes_what_growing_at_once_makes() -> None:
    sampler = small_sampler()
    draft = sampler.draft(4, 10, (7,))
    for until in (3, 4, 8, 10, 99):
        sampler.grow([draft], until)
    assert (sampler.level(draft).tiles == make(sampler, 4, 10, 7).tiles).all()
    draft.back_to(6)
    assert draft.line == 6
    assert (draft.scan[6:] == -1).all()
    assert (draft.scan[:6] >= 0).all()


def test_given_tiles_stay_even_where_they_break_the_structure() -> None:
    model = scripted_model(TILES)
    frame = replace(Frame.free(4), left=np.array([False, True, False, False]))
    sampler = Sampler(model, empty_level(TILES), frame=frame)
    fixed = fixed_with(3, 4, {(0, 0): 2, (1, 3): 3, (2, 1): 1})
    level = grown(sampler, [sampler.draft(3, 4, (0,), (), fixed)])[0]
    assert (level.tiles[fixed >= 0] == fixed[fixed >= 0]).all()
    assert level.tiles[1:, 0].tolist() == [1, 1]


def test_lines_that_are_given_cost_no_step_of_the_network() -> None:
    model = scripted_model(TILES)
    sampler = Sampler(model, empty_level(TILES))
    fixed = np.ones((3, 10), np.int32)
    fixed[1, 9] = -1
    draft = sampler.draft(3, 10, (0,), (), fixed)
    grown(sampler, [draft])
    assert draft.steps == 1
    assert model.network.asked == 9 * 3 + 3  # type: ignore[union-attr]
    assert np.isnan(draft.logits[:9]).all()
    assert not np.isnan(draft.logits[9]).any()


def biased(logits: list[float]) -> TileModel:
    return scripted_model(TILES, lambda column, row, before: logits)


def test_temperature_0_takes_the_likeliest_tile_that_is_allowed() -> None:
    frame = replace(Frame.free(4), first=np.array([True, True, True, False]))
    sampler = Sampler(biased([0.0, 1.0, 2.0, 3.0]), empty_level(TILES), frame=frame, temperature=0.0)
    level = make(sampler, 3, 3, 0)
    assert (level.tiles[-1] == 2).all()  # the first place of a column is its lowest
    assert (level.tiles[:-1] == 3).all()


def test_temperature_and_top_p_shape_what_is_drawn() -> None:
    logits = [math.log(share) for share in (0.5, 0.3, 0.15, 0.05)]

    def shares(**settings: float) -> np.ndarray:
        sampler = Sampler(biased(logits), empty_level(TILES), **settings)  # type: ignore[arg-type]
        return np.bincount(make(sampler, 20, 30, 0).tiles.ravel(), minlength=4) / 600

    assert shares() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.07)
    nucleus = shares(top_p=0.7)  # the least set that holds 0.7 is the first two
    assert nucleus == pytest.approx([0.625, 0.375, 0, 0], abs=0.07)
    assert not nucleus[2:].any()
    assert shares(temperature=0.01)[0] == 1.0
    assert shares(temperature=100.0) == pytest.approx([0.25] * 4, abs=0.07)
    assert shares(top_p=1e-9)[0] == 1.0


def test_exact_counts_and_the_one_player_are_kept() -> None:
    frame = replace(Frame.free(4), single=np.array([False, False, False, True]))
    sampler = Sampler(
        biased([0.0, 0.0, 2.0, 2.0]), empty_level(TILES), frame=frame
    )  # it likes what is asked to be rare
    asked = [Request("enemies", 3, 3)]
    for seed in range(5):
        draft = sampler.draft(4, 8, (seed,), asked)
        level = grown(sampler, [draft])[0]
        assert (level.tiles == 2).sum() == 3
        assert (level.tiles == 3).sum() == 1
        assert not draft.cornered


def test_what_is_given_counts_before_it_is_reached() -> None:
    sampler = Sampler(biased([0.0, 0.0, 3.0, 0.0]), empty_level(TILES))
    fixed = fixed_with(3, 6, {(0, 5): 2, (1, 5): 2})
    draft = sampler.draft(3, 6, (0,), [Request("enemies", 0, 3)], fixed)
    level = grown(sampler, [draft])[0]
    assert (level.tiles == 2).sum() == 3
    assert (level.tiles[:, :5] == 2).sum() == 1


def test_pipes_stay_whole_and_borders_closed_whatever_the_model_says() -> None:
    tiles = {".": ("empty",), "#": ("solid",), "[": ("pipe", "solid"), "]": ("pipe", "solid")}
    rows = ["##########", "#........#", "#..[]....#", "#..[].[].#", "##########"]
    structure = learn_structure([Level.from_text("\n".join(rows), tiles)] * 3)
    for order in ("columns", "rows"):
        sampler = Sampler(scripted_model(tiles), empty_level(tiles), order=order, frame=Frame.of(structure, order))
        for seed in range(3):
            level = make(sampler, 6, 12, seed)
            assert structure.breaks(level) == []
            left, right = level.tiles == 2, level.tiles == 3
            assert (left[:, :-1] == right[:, 1:]).all()


def test_corners_are_told_and_filled_with_what_breaks_least() -> None:
    frame = replace(Frame.free(4), right=np.zeros(4, np.bool_))
    sampler = Sampler(scripted_model(TILES), empty_level(TILES), frame=frame)
    draft = sampler.draft(2, 3, (0,))
    grown(sampler, [draft])
    assert draft.cornered
    assert (draft.scan >= 0).all()


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_likelihoods_are_those_of_the_sampling(order: Order) -> None:
    sampler = Sampler(small_model(context=200), empty_level(LEGEND), order=order)
    asked = [Request("enemies", 2, 4)]
    draft = sampler.draft(5, 6, (4,), asked)
    sampler.grow([draft], 9)
    level = sampler.level(draft)
    found = sampler.likelihood(level, 1, 4, asked)
    logits = torch.from_numpy(draft.logits[1:4].astype(np.float32))
    wanted = torch.log_softmax(logits, dim=-1).numpy()
    wanted = np.take_along_axis(wanted, draft.scan[1:4, :, None].astype(np.int64), axis=-1)[..., 0]
    assert found.shape == (3, 5 if order == "columns" else 6)
    assert found == pytest.approx(wanted, abs=0.02)


def test_likelihoods_of_levels_beyond_the_context_are_taken_in_windows() -> None:
    sampler = small_sampler()
    level = make(sampler, 5, 40, 1)
    found = sampler.likelihood(level, 3, 38)
    assert found.shape == (35, 5)
    assert np.isfinite(found).all()
    assert (found < 0).all()


def test_missing_tiles_are_put_where_they_cost_least() -> None:
    def script(column: int, row: int, before: int) -> list[float]:
        return [5.0, 0.0, 3.0 if (column, row) == (4, 1) else -3.0, -9.0]

    sampler = Sampler(scripted_model(TILES, script), empty_level(TILES), temperature=0.0)
    draft = sampler.draft(3, 6, (0,), [Request("tile:#", 0, 0)])
    grown(sampler, [draft])
    draft.limits.flags[0], draft.limits.low[0], draft.limits.high[0] = [False, False, True, False], 1.0, 1.0
    level = mend_counts(sampler, draft, None)
    assert level.cells("enemy") == [(1, 4)]
    assert (sampler.level(draft).tiles == level.tiles).all()


def test_mending_leaves_given_tiles_and_structure_alone() -> None:
    tiles = {"#": ("solid",), ".": ("empty",), "e": ("enemy",)}
    walled = Level.from_text("\n".join(["#######", "#.....#", "#..e..#", "#######"]), tiles)
    structure = learn_structure([walled] * 4)
    sampler = Sampler(scripted_model(tiles, lambda c, r, b: [1.0, 0.0, 0.9]), empty_level(tiles))
    fixed = np.zeros((4, 7), np.int32)
    fixed[1:3, 1:6] = [[1, 1, -1, 1, 1], [1, -1, -1, 1, 1]]
    draft = sampler.draft(4, 7, (0,), [Request("enemies", 3, 3)], fixed)
    draft.limits.high[0] = 0.0  # nothing of it while sampling
    grown(sampler, [draft])
    draft.limits.high[0] = 3.0
    level = mend_counts(sampler, draft, structure)
    assert (level.tiles[fixed >= 0] == fixed[fixed >= 0]).all()
    assert sorted(level.cells("enemy")) == [(1, 3), (2, 2), (2, 3)]
    assert structure.breaks(level) == []
    draft = sampler.draft(4, 7, (0,), [Request("enemies", 9, 9)], fixed)
    grown(sampler, [draft])
    assert len(mend_counts(sampler, draft, structure).cells("enemy")) == 3  # no room for more is not its fault


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_what_every_map_has_once_is_put_in_with_the_neighbours_that_it_must_have(order: Order) -> None:
    """A flag whose foot every map has once, under its pole, from a model that draws neither."""
    tiles = {"#": ("solid",), ".": ("empty",), "P": ("decoration",), "F": ("goal",)}
    maps = [
        Level.from_text("\n".join([f"{'.' * n}P......"[:8], f"{'.' * n}F......"[:8], "########"]), tiles)
        for n in range(1, 6)
    ]
    structure, frame = learn_structure(maps), Frame.of(learn_structure(maps), order)
    model = scripted_model(tiles, lambda c, r, b: [0.0, 9.0, -5.0, -9.0])
    sampler = Sampler(model, maps[0], order=order, temperature=0.0, frame=frame)
    draft = sampler.draft(3, 8, (0,))
    grown(sampler, [draft])
    draft.scan[draft.scan > 1] = 1  # whatever was put in while sampling
    assert draft.limits.broken(draft.scan, draft.fixed)
    before = draft.scan.copy()
    assert complete_level(sampler, draft, structure, lambda level: False) is None
    assert (draft.scan == before).all()
    level = complete_level(
        sampler, draft, structure, lambda level: (1, 6) in level.cells("goal") or not level.cells("goal")
    )
    assert level is not None
    assert not draft.limits.broken(draft.scan, draft.fixed)
    assert structure.breaks(level) == []
    assert level.cells("goal") == [(1, 6)]
    assert level.tiles[0, 6] == 2


def test_wishes_are_told_while_a_level_grows() -> None:
    sampler = small_sampler()
    many, none = [Request("enemies", 20, 20)], [Request("enemies", 0, 0)]
    assert (make(sampler, 5, 12, 1, many).tiles == 2).sum() > (make(sampler, 5, 12, 1, none).tiles == 2).sum() == 0
    assert len(FACTS) == 4
