"""Every delivered level keeps every promise; what is not delivered is counted, with the reason."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from tests.scripted_tiles import Script, ScriptedRules, empty_level, scripted_model

from newgameplus.games.conditions import Request
from newgameplus.games.rules import open_rules
from newgameplus.games.rules.contract import Answer, Budget, Proof, Rules
from newgameplus.games.scanning import Order, from_scan
from newgameplus.games.scenes import Level
from newgameplus.games.structure import Structure, learn_structure
from newgameplus.generate.constraints import Frame
from newgameplus.generate.delivery import Delivery, Maker
from newgameplus.generate.sampler import Sampler

TILES = {".": ("empty",), "#": ("solid",), "e": ("enemy",)}
SOKOBAN = {"#": ("solid",), " ": ("empty",), "$": ("box",), ".": ("goal",), "@": ("start",)}


def far(level: Level) -> tuple[str, int]:
    return "a map", 99


def maker(rules: Rules, script: Script | None = None, order: Order = "columns", **settings: object) -> Maker:
    sampler = Sampler(scripted_model(TILES, script), empty_level(TILES), order=order)
    nearest = settings.pop("nearest", far)
    return Maker(sampler, rules, ("enemies", "solids"), nearest, **settings)  # type: ignore[arg-type]


def anything(level: Level) -> bool:
    return True


def texts(delivery: Delivery) -> list[str]:
    return [made.level.to_text() for made in delivery.levels]


def test_levels_come_with_all_that_is_promised() -> None:
    asked = [[Request("enemies", 2, 2)], [Request("enemies", 3, 5)], []]
    delivery = maker(ScriptedRules(anything)).deliver([(3, 6), (3, 6), (5, 4)], asked, 1)
    assert delivery.as_dict() | {"seconds_per_level": 0} == {
        "asked": 3, "delivered": 3, "samples": 3, "repairs": 0, "samples_per_level": 1.0, "seconds_per_level": 0,
    }  # fmt: skip
    assert [made.level.tiles.shape for made in delivery.levels] == [(3, 6), (3, 6), (5, 4)]
    assert delivery.levels[0].achieved["enemies"] == 2 == delivery.levels[0].level.where("enemy").sum()
    assert 3 <= delivery.levels[1].achieved["enemies"] <= 5
    for made in delivery.levels:
        assert made.answer.proof is not None
        assert made.nearest == ("a map", 99)
        assert set(made.achieved) == {"enemies", "solids"}
        assert made.samples == 1
    assert not delivery.failures
    assert not delivery.closest


def test_the_same_seed_delivers_the_same_and_a_level_does_not_depend_on_how_many_are_asked_for() -> None:
    def order(count: int, seed: int) -> list[str]:
        rules = ScriptedRules(lambda level: level.where("enemy").sum() % 3 != 0, at=(1, 1))
        return texts(maker(rules, repairs=1).deliver([(4, 5)] * count, [[]] * count, seed))

    twelve = order(12, 5)
    assert len(set(twelve)) == 12
    assert order(12, 5) == twelve
    assert order(3, 5) == twelve[:3]
    assert order(3, 6) != twelve[:3]


def test_a_budget_ends_with_an_honest_count() -> None:
    rules = ScriptedRules(lambda level: False)
    delivery = maker(rules, samples=3, repairs=2).deliver([(2, 3)] * 10, [[]] * 10, 0)
    assert delivery.levels == []
    assert delivery.asked == 10
    assert delivery.samples == 30
    assert delivery.repairs == 60
    assert dict(delivery.failures) == {"not playable": 30}
    assert rules.solved == 90
    assert delivery.as_dict()["samples_per_level"] is None
    assert len(delivery.closest) == 10


def test_what_was_delivered_is_kept_when_the_rest_cannot_be() -> None:
    rules = ScriptedRules(lambda level: level.width < 5)
    delivery = maker(rules, samples=2, repairs=0).deliver([(2, 3), (2, 6), (2, 4)], [[]] * 3, 0)
    assert [made.level.width for made in delivery.levels] == [3, 4]
    assert delivery.samples == 4
    assert dict(delivery.failures) == {"not playable": 2}


class Undecided(ScriptedRules):
    def solve(self, level: Level, budget: Budget = Budget()) -> Answer:  # noqa: B008
        return Answer("undecided", reason=f"within {budget.nodes}")


def test_each_broken_promise_is_named() -> None:
    def failures(one: Maker, asked: Request | None = None) -> dict[str, int]:
        return dict(one.deliver([(3, 4)], [[asked] if asked else []], 0).failures)

    settings = {"samples": 2, "repairs": 1}
    refused = ScriptedRules(anything)
    refused.refused = True
    assert failures(maker(refused, **settings)) == {"the proof fails: step 0 is refused": 2}
    assert failures(maker(Undecided(anything), **settings)) == {"undecided": 2}
    copies = maker(ScriptedRules(anything), nearest=lambda level: ("map 3", 4), min_distance=5, **settings)
    assert failures(copies) == {"a copy": 2}
    copies.min_distance = 4
    assert failures(copies) == {}
    missed = maker(ScriptedRules(anything), **settings)
    assert failures(missed, Request("solids", 99, 99)) == {"missed: solids": 2}


def test_the_nearest_that_was_found_is_told_for_what_was_missed() -> None:
    one = maker(ScriptedRules(anything), lambda c, r, b: [3.0, 0.0, 0.0], samples=4, repairs=0)
    one.measures = ("solids", "path_length")
    delivery = one.deliver([(3, 4)], [[Request("path_length", 5, 5), Request("solids", 0, 12)]], 0)
    assert not delivery.levels
    assert delivery.closest[0]["path_length"] == 1.0
    assert 0 <= delivery.closest[0]["solids"] <= 12


def test_counts_that_the_model_left_short_are_mended() -> None:
    shy = maker(ScriptedRules(anything), lambda c, r, b: [9.0, 0.0, -9.0], samples=1, repairs=0)
    delivery = shy.deliver([(3, 5)] * 4, [[Request("enemies", 4, 4)]] * 4, 0)
    assert [made.achieved["enemies"] for made in delivery.levels] == [4.0] * 4


def test_what_every_map_has_once_is_put_in_if_the_level_can_still_be_played() -> None:
    """Here by a model that would never draw it, and in one place alone."""
    single = np.arange(len(TILES)) == 2
    nowhere = np.ones((4, len(TILES), len(TILES)), np.bool_)
    structure = Structure(empty_level(TILES).tileset, nowhere, np.ones((4, len(TILES)), np.bool_), single)

    def deliver(rules: ScriptedRules, structure: Structure | None) -> list[Level]:
        one = maker(rules, lambda c, r, b: [9.0, 9.0, -99.0], samples=1, repairs=0, structure=structure)
        one.sampler.frame = replace(Frame.free(len(TILES), len(TILES)), single=single)
        return [made.level for made in one.deliver([(2, 4)], [[]], 0).levels]

    (level,) = deliver(ScriptedRules(anything), structure)
    assert (level.tiles == 2).sum() == 1
    nowhere[:, 2], nowhere[:, :, 2] = False, False
    (level,) = deliver(ScriptedRules(anything), structure)  # no place for it: a level without it is better than none
    assert not (level.tiles == 2).any()


def test_a_goal_that_would_cut_the_way_short_is_not_put_in() -> None:
    class Shortening(ScriptedRules):
        def solve(self, level: Level, budget: Budget = Budget()) -> Answer:  # noqa: B008
            columns = [column for _, column in level.cells("enemy")]
            return Answer("playable", Proof(((0, 0),)), measures={"path_length": float(columns[0] if columns else 5)})

    single = np.arange(len(TILES)) == 2
    under = np.ones((4, len(TILES), len(TILES)), np.bool_)
    under[0, 2], under[1, :, 2] = [False, True, False], [False, True, False]  # always with something solid above
    edges = np.ones((4, len(TILES)), np.bool_)
    edges[0, 2] = False
    structure = Structure(empty_level(TILES).tileset, under, edges, single)
    one = maker(Shortening(anything), lambda c, r, b: [9.0, -99.0, -99.0], samples=1, repairs=0, structure=structure)
    one.sampler.frame = replace(Frame.free(len(TILES), len(TILES)), single=single)
    (made,) = one.deliver([(2, 6)], [[]], 0).levels
    ((row, column),) = made.level.cells("enemy")
    assert (row, column >= 4) == (1, True)
    assert made.level.tiles[0, column] == 1


def test_a_changed_map_may_be_near_to_itself_but_must_have_changed() -> None:
    def sometimes(column: int, row: int, before: int) -> list[float]:
        return [6.0, 0.0, 0.0]

    original = np.zeros((2, 4), np.int32)
    fixed = original.copy()
    fixed[0, 1] = -1
    one = maker(ScriptedRules(anything), sometimes, nearest=lambda level: ("itself", 1), repairs=0, samples=5000)
    one.original = original
    delivery = one.deliver([(2, 4)], [[]], 0, [fixed])
    assert delivery.levels[0].level.tiles[0, 1] != 0
    assert (delivery.levels[0].level.tiles != original).sum() == 1
    one.samples, one.sampler.temperature = 3, 0.0
    assert dict(one.deliver([(2, 4)], [[]], 0, [fixed]).failures) == {"nothing changed": 3}


def test_a_repair_opens_the_place_of_the_failure_and_keeps_the_rest() -> None:
    seen: list[np.ndarray] = []

    def playable(level: Level) -> bool:
        seen.append(level.tiles.copy())
        return len(seen) == 4

    delivery = maker(ScriptedRules(playable, at=(4, 10)), repairs=9).deliver([(9, 20)], [[]], 3)
    assert delivery.samples == 1
    assert delivery.repairs == 3 == delivery.levels[0].repairs
    for number, (one, other) in enumerate(itertools.pairwise(seen)):
        rows, columns = np.nonzero(one != other)
        reach = 2 + number  # wider with every try
        assert np.abs(rows - 4).max() <= reach
        assert np.abs(columns - 10).max() <= reach


class Walls(ScriptedRules):
    """A column of nothing but walls stops the player, who comes from the left."""

    grows = True

    def __init__(self) -> None:
        super().__init__(anything)
        self.parts: list[int] = []

    def solve(self, level: Level, budget: Budget = Budget()) -> Answer:  # noqa: B008
        blocked = np.flatnonzero(level.where("solid").all(axis=0))
        reached = np.zeros(level.tiles.shape, np.bool_)
        reached[:, : blocked[0] if len(blocked) else level.width] = True
        if len(blocked):
            return Answer("unplayable", reason="a wall", at=(0, int(blocked[0])), reached=reached)
        return Answer("playable", super().solve(level).proof, reached=reached)

    def solve_part(self, level: Level, budget: Budget = Budget()) -> Answer:  # noqa: B008
        self.parts.append(level.width)
        return self.solve(level)


def test_long_levels_are_verified_as_they_grow_and_step_back_where_they_got_stuck() -> None:
    rules = Walls()
    some_walls = maker(rules, lambda c, r, b: [0.0, -0.7, 0.0], repairs=20, samples=1, growth=True)
    delivery = some_walls.deliver([(2, 120)] * 3, [[]] * 3, 0)
    assert len(delivery.levels) == 3  # one column in 25 is a wall: without steps back one level in 140 would do
    assert delivery.samples == 3
    assert delivery.repairs == sum(made.repairs for made in delivery.levels) > 5
    assert max(rules.parts) < 120
    assert all(width % 16 == 0 for width in rules.parts)
    for made in delivery.levels:
        assert not made.level.where("solid").all(axis=0).any()
        assert (from_scan(made.frames[-1], "columns") == made.level.tiles).all()
        lines = [int((frame >= 0).all(axis=1).sum()) for frame in made.frames]
        assert lines[0] == 16
        assert lines[-1] == 120


def test_a_level_that_stays_stuck_is_one_sample_with_its_reason() -> None:
    walls = maker(Walls(), lambda c, r, b: [0.0, 9.0, 0.0] if c == 5 else [9.0, 0.0, 0.0], samples=3, repairs=4)
    delivery = walls.deliver([(2, 40)] * 2, [[]] * 2, 0)
    assert delivery.samples == 6
    assert dict(delivery.failures) == {"stuck on the way": 6}
    assert delivery.repairs == 24


def test_levels_that_grow_downwards_are_judged_whole() -> None:
    rules = Walls()
    delivery = maker(rules, order="rows", repairs=9).deliver([(40, 6)], [[]], 0)
    assert len(delivery.levels) == 1
    assert not rules.parts


def test_a_step_back_in_a_changed_map_begins_where_it_can_be_made_anew() -> None:
    """What is given behind the region stops the player, but only if the region ends with a wall, too."""

    class Late(Walls):
        def solve(self, level: Level, budget: Budget = Budget()) -> Answer:  # noqa: B008
            bad = level.width == 40 and not level.where("enemy")[:, 20].all()
            reached = np.zeros(level.tiles.shape, np.bool_)
            reached[:, :30] = True
            return Answer("unplayable", reason="no", reached=reached) if bad else super().solve(level)

    fixed = np.zeros((1, 40), np.int32)
    fixed[:, 18:22] = -1
    one = maker(Late(), repairs=40, samples=1)
    delivery = one.deliver([(1, 40)], [[]], 0, [fixed])
    assert len(delivery.levels) == 1
    assert (delivery.levels[0].level.tiles[fixed >= 0] == 0).all()


# --- real rules --------------------------------------------------------------------------------------------------


def test_platformer_levels_of_a_poor_model_are_delivered_playable() -> None:
    def gaps(column: int, row: int, before: int) -> list[float]:
        ground = 1.2 if row == 0 else -1.5 if before == 0 else -3.0
        return [0.0, 0.4 if row < 1 else ground, -4.0]

    rules = open_rules("platformer")
    one = maker(rules, gaps, repairs=30, samples=10, growth=True)
    delivery = one.deliver([(8, 70)] * 3, [[]] * 3, 2)
    assert len(delivery.levels) == 3
    for made in delivery.levels:
        assert made.answer.proof is not None
        assert rules.solve(made.level).playable
        assert rules.replay(made.level, made.answer.proof) == ""


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_sokoban_levels_of_a_model_that_knows_nothing_are_repaired_until_they_are_solved(order: Order) -> None:
    maps = ["########\n#      #\n# $  . #\n#   @  #\n########", "########\n# $  . #\n#   @  #\n#      #\n########"]
    levels = [Level.from_text(text, SOKOBAN) for text in maps * 2]
    structure = learn_structure(levels)
    model = scripted_model(SOKOBAN, lambda c, r, b: [0.0, 2.5, 0.0, 0.0, 0.0])
    sampler = Sampler(model, levels[0], order=order, frame=Frame.of(structure, order))
    rules = open_rules("sokoban")
    one = Maker(sampler, rules, ("boxes", "goals"), far, structure, Budget(nodes=3000), samples=10, repairs=10)
    asked = [[Request("boxes", 2, 2), Request("goals", 2, 2)]] * 2
    delivery = one.deliver([(6, 7)] * 2, asked, 4)
    assert len(delivery.levels) == 2
    assert delivery.repairs > 0
    for made in delivery.levels:
        assert made.achieved == {"boxes": 2.0, "goals": 2.0}
        assert made.level.where("start").sum() == 1
        assert made.answer.proof is not None
        assert rules.replay(made.level, made.answer.proof) == ""
        assert structure.breaks(made.level) == []
