from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError, RecipeError
from newgameplus.games.rules.contract import Budget, Proof
from newgameplus.games.rules.platformer import Platformer
from newgameplus.games.rules.platformer_physics import arcs, read_arcs
from newgameplus.games.rules.platformer_structures import learn_structures
from newgameplus.games.scenes import Level

DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[4] / "shared" / "data")) / "scenes" / "mario"
TILES = {
    "-": ["empty"],
    "X": ["solid"],
    "^": ["hazard"],
    "=": ["one-way"],
    "H": ["climbable"],
    "~": ["liquid"],
    "E": ["enemy", "hazard"],
    "B": ["solid", "hazard"],
    "v": ["void"],
    "@": ["start"],
    "G": ["goal"],
    "F": ["goal", "solid"],
}
SMALL = [[[0, -1], [0, -2], [1, -2]], [[1, -1], [2, -2], [3, -2], [4, -1]], [[1, 0], [2, 0]]]


def level(*rows: str) -> Level:
    return Level.from_text("\n".join(rows), TILES)


class Oracle:
    """The same game told a second time: one state at a time, no arrays, states of jumps kept apart."""

    def __init__(self, text: str, jumps: list, **options) -> None:
        self.rows, self.jumps, self.options = text.split("\n"), jumps, options
        self.height, self.width = len(self.rows), len(self.rows[0])

    def at(self, r: int, c: int) -> str:
        return self.rows[r][c] if 0 <= r < self.height and 0 <= c < self.width else ""

    def blocked(self, r: int, c: int) -> bool:
        tile = self.at(r, c)
        if tile == "E":
            return self.options.get("enemies") == "hazard"
        if tile == "~":
            return self.options.get("liquids") == "hazard"
        return tile in ("", "X", "^", "B", "v", "F")

    def floats(self, r: int, c: int) -> bool:
        return self.at(r, c) == "H" or (self.at(r, c) == "~" and self.options.get("liquids", "swim") == "swim")

    def held(self, r: int, c: int) -> bool:
        return self.floats(r, c) or self.at(r + 1, c) in ("X", "=", "B", "H", "F")

    def enters(self, r: int, c: int, down: bool) -> bool:
        return not self.blocked(r, c) and not (down and self.at(r, c) == "=")

    def arc_step(self, r: int, c: int, jump: int, side: int, step: int):
        path = [[0, 0], *self.jumps[jump]]
        nr, nc = r + path[step + 1][1] - path[step][1], c + side * (path[step + 1][0] - path[step][0])
        if nr < 0 and self.options.get("above", True):
            nr = 0
        return (nr, nc) if self.enters(nr, nc, nr > r) else None

    def after(self, state):
        r, c, mode = state
        if mode:
            jump, side, step = mode
            onward = self.arc_step(r, c, jump, side, step + 1) if step + 1 < len(self.jumps[jump]) else None
            if onward:
                yield (*onward, (jump, side, step + 1))
            if onward and self.options.get("leave") == "landing" and not self.held(r, c):
                return
        yield from self.standing(r, c) if self.held(r, c) else self.falling(r, c)
        if self.floats(r, c) and self.enters(r - 1, c, False):
            yield r - 1, c, None
        if (self.floats(r, c) or self.floats(r + 1, c)) and self.enters(r + 1, c, True):
            yield r + 1, c, None

    def standing(self, r: int, c: int):
        for side in (1, -1):
            if self.enters(r, c + side, False):
                yield r, c + side, None
            for jump in range(len(self.jumps)):
                first = self.arc_step(r, c, jump, side, 0)
                if first:
                    yield (*first, (jump, side, 0))

    def falling(self, r: int, c: int):
        if self.enters(r + 1, c, True):
            yield r + 1, c, None
            for side in (1, -1):
                if self.options.get("drift", True) and self.enters(r + 1, c + side, True):
                    yield r + 1, c + side, None

    def starts(self):
        cells = [(r, c) for r in range(self.height) for c in range(self.width)]
        marked = [cell for cell in cells if self.at(*cell) == "@"]
        if marked:
            return marked
        free = [(r, c) for r, c in cells if c < 3 and not self.blocked(r, c)]
        return [cell for cell in free if self.held(*cell)] or [cell for cell in free if cell[0] == 0]

    def wins(self, r: int, c: int) -> bool:
        if not any(tile in row for row in self.rows for tile in "GF"):
            return c == self.width - 1
        beside = [self.at(r + 1, c), self.at(r - 1, c), self.at(r, c + 1), self.at(r, c - 1)]
        return self.at(r, c) == "G" or "F" in beside

    def reached(self) -> set:
        seen = {(*cell, None) for cell in self.starts()}
        edge = list(seen)
        while edge:
            for onward in self.after(edge.pop()):
                if onward not in seen:
                    seen.add(onward)
                    edge.append(onward)
        return {(r, c) for r, c, _ in seen}

    def allows(self, cells) -> bool:
        """Whether there is any way to go through just these cells."""
        states = {(*cells[0], None)} if tuple(cells[0]) in self.starts() else set()
        for cell in cells[1:]:
            states = {onward for state in states for onward in self.after(state) if onward[:2] == tuple(cell)}
        return bool(states) and self.wins(*cells[-1])


def random_text(random: np.random.Generator) -> str:
    height, width = random.integers(2, 8), random.integers(1, 12)
    weights = np.array([12, 4, 0.4, 0.6, 0.6, 0.4, 0.4, 0.2, 0.2, 0, 0, 0])
    grid = random.choice(list(TILES), (height, width), p=weights / weights.sum())
    if random.random() < 0.7:
        grid[-1] = random.choice(["X", "-"], width, p=[0.7, 0.3])
    for tile, chance in (("@", 0.5), ("G", 0.3), ("F", 0.1), ("G", 0.1)):
        if random.random() < chance:
            grid[random.integers(height), random.integers(width)] = tile
    return "\n".join("".join(row) for row in grid)


def random_options(random: np.random.Generator) -> dict:
    return {
        "enemies": str(random.choice(["passable", "hazard"])),
        "liquids": str(random.choice(["swim", "air", "hazard"])),
        "leave": str(random.choice(["anywhere", "landing"])),
        "drift": bool(random.random() < 0.7),
        "above": bool(random.random() < 0.7),
    }


def tampered(proof: Proof, random: np.random.Generator) -> Proof:
    cells, steps = list(proof.cells), [list(step) for step in proof.facts["steps"]]
    number = int(random.integers(len(cells)))
    what = random.integers(4)
    if what == 0:
        row, column = cells[number]
        cells[number] = row + int(random.integers(-2, 3)), column + int(random.integers(-2, 3))
    elif what == 1 and len(cells) > 1:
        del cells[number]
        del steps[min(number, len(steps) - 1)]
    elif what == 2 and steps:
        kinds = [["walk"], ["fall"], ["climb"], ["fly"], ["jump", 1, 1, 0], ["jump", 99, 1, 0], ["jump", 0, -1, 1], []]
        steps[number % len(steps)] = kinds[random.integers(len(kinds))]
    else:
        cells.append((cells[-1][0], cells[-1][1] + 1))
        steps.append(["walk"])
    return Proof(tuple(cells), facts={"steps": steps})


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_brute_force_on_small_levels_and_its_proofs_hold(seed: int) -> None:
    random = np.random.default_rng(seed)
    playable = 0
    for _ in range(150):
        text, options = random_text(random), random_options(random)
        one, rules = Level.from_text(text, TILES), Platformer(jumps=SMALL, **options)
        answer, oracle = rules.solve(one), Oracle(text, SMALL, **options)
        reached = oracle.reached()
        context = f"{options}\n{text}\n{answer.reason}"
        assert answer.playable == any(oracle.wins(*cell) for cell in reached), context
        found = set(zip(*(axis.tolist() for axis in np.nonzero(answer.reached)), strict=True))
        assert found == reached or options["leave"] == "landing", context
        assert found <= reached or answer.playable, context  # past a goal in the air, the rest is no matter
        if not answer.playable:
            assert answer.proof is None
            assert answer.reason
            continue
        playable += 1
        assert rules.replay(one, answer.proof) == "", context
        assert oracle.allows(answer.proof.cells), context
        for _ in range(5):
            other = tampered(answer.proof, random)
            if rules.replay(one, other) == "":
                assert oracle.allows(other.cells), f"{context}\n{other}"
    assert 20 < playable < 140


@st.composite
def random_arcs(draw: st.DrawFn) -> list:
    moves = st.lists(st.tuples(st.integers(0, 1), st.integers(-1, 1)), min_size=1, max_size=6)
    jumps = []
    for arc in draw(st.lists(moves, min_size=1, max_size=4)):
        x, y, cells = 0, 0, []
        for right, down in arc:
            x, y = x + right, y + down
            cells.append([x, y])
        jumps.append(cells)
    return jumps


@settings(max_examples=120, deadline=None)
@given(jumps=random_arcs(), rows=st.lists(st.text("--XX=H", min_size=7, max_size=7), min_size=4, max_size=6))
def test_agrees_with_brute_force_for_any_arcs(jumps: list, rows: list[str]) -> None:
    text = "\n".join(rows)
    one, rules = Level.from_text(text, TILES), Platformer(jumps=jumps)
    answer, oracle = rules.solve(one), Oracle(text, jumps)
    reached = oracle.reached()
    assert set(zip(*np.nonzero(answer.reached), strict=True)) == reached
    assert answer.playable == any(oracle.wins(*cell) for cell in reached)
    if answer.playable:
        assert rules.replay(one, answer.proof) == ""


def test_walks_and_jumps_over_a_gap_it_can_cross() -> None:
    one = level("----------", "----------", "----------", "----------", "----------", "XXX---XXXX")
    answer = Platformer().solve(one)
    assert answer.playable
    assert answer.measures["jumps"] == 1
    assert answer.proof.cells[0][1] <= 2
    assert answer.proof.cells[-1][1] == 9


def test_flat_ground_is_walked_without_a_jump() -> None:
    answer = Platformer().solve(level("--------", "--------", "XXXXXXXX"))
    assert answer.measures == {"path_length": 6.0, "jumps": 0.0, "nodes": 16.0}


def test_says_where_it_got_stuck_and_what_is_out_of_reach() -> None:
    rows = ["-" * 40] * 6 + ["XXXX" + "-" * 30 + "XXXXXX"]
    answer = Platformer().solve(level(*rows))
    assert answer.status == "unplayable"
    assert answer.at == (5, 3)
    assert "stuck at row 5, column 3" in answer.reason
    assert "row 5, column 34" in answer.reason
    assert "of 40" in answer.reason


def test_says_which_goal_cannot_be_reached() -> None:
    answer = Platformer().solve(level("---XG", "@--XX", "XXXXX"))
    assert answer.reason.startswith("the goal at row 0, column 4 cannot be reached: stuck at row")


def test_a_wall_is_jumped_up_to_the_height_of_the_jumps() -> None:
    def wall(height: int) -> Level:
        return level(*["-" * 9] * (9 - height), *["----X----"] * height, "X" * 9)

    assert Platformer().solve(wall(4)).playable
    assert not Platformer().solve(wall(5)).playable
    assert Platformer(jumps={"height": 5}).solve(wall(5)).playable


def test_hazards_are_never_entered_enemies_as_told() -> None:
    rows = ["XXXXXX", "--EE--", "XXXXXX"]
    assert Platformer().solve(level(*rows)).playable
    assert not Platformer(enemies="hazard").solve(level(*rows)).playable
    assert not Platformer().solve(level(rows[0], "--^^--", rows[2])).playable


def test_one_way_tiles_are_entered_from_below_only() -> None:
    assert Platformer().solve(level("G---", "====", "@---", "XXXX")).playable
    assert not Platformer().solve(level("@---", "====", "G---", "XXXX")).playable


def test_ladders_lead_up_and_down() -> None:
    tall = ["G--", "XHX", "XHX", "XHX", "XHX", "XHX", "XHX", "@--", "XXX"]
    assert Platformer().solve(level(*tall)).playable
    down = [row.translate(str.maketrans("G@", "@G")) for row in tall]
    assert Platformer().solve(level(*down)).playable


def test_water_is_swum_in_or_fallen_through() -> None:
    pool = ["G--", "~~~", "~~~", "~~~", "~~~", "~~~", "~~~", "~@~", "XXX"]
    assert Platformer().solve(level(*pool)).playable
    assert not Platformer(liquids="air").solve(level(*pool)).playable
    assert not Platformer(liquids="hazard").solve(level(*pool)).playable


def test_falling_out_of_the_bottom_is_the_end() -> None:
    assert not Platformer(jumps=[[[0, -1]]], drift=False).solve(level("---", "X--")).playable


def test_drops_in_only_where_one_cannot_stand() -> None:
    assert Platformer().solve(level("-----", "-----", "---XX")).proof.cells[0][0] == 0
    assert Platformer().solve(level("-----", "-----", "-XXXX")).proof.cells[0] == (1, 2)


def test_nowhere_to_begin_is_a_reason() -> None:
    answer = Platformer().solve(level("XXX-", "XXX-", "XXXX"))
    assert answer.status == "unplayable"
    assert "nowhere to begin" in answer.reason


def test_a_level_too_large_for_the_budget_is_undecided() -> None:
    answer = Platformer().solve(level("-----", "XXXXX"), Budget(nodes=4))
    assert answer.status == "undecided"
    assert "4 nodes" in answer.reason


def test_part_of_a_level_is_good_if_its_last_column_can_be_reached() -> None:
    rules = Platformer()
    cliff = level(*["-" * 8] * 5, "XXXX----")
    assert rules.solve_part(cliff).playable
    deep = level(*["-" * 30] * 5, "XXXX" + "-" * 26)
    part = rules.solve_part(deep)
    assert not part.playable
    assert part.reached.shape == (6, 30)
    assert part.reached[4, 3]
    assert not part.reached[:, -1].any()
    assert Platformer(margin=22).solve_part(deep).playable


def test_part_of_a_level_does_not_need_the_goal_yet() -> None:
    part = Level.from_text("@---\nXXXX", TILES)
    assert Platformer().solve_part(part).playable
    behind = level("@--XG", "XXXXX")
    assert not Platformer().solve(behind).playable


def test_empty_and_tiny_levels_get_an_answer() -> None:
    for shape in ((1, 1), (0, 5), (5, 0), (1, 6), (6, 1)):
        one = replace(level("-"), tiles=np.zeros(shape, np.int32))
        assert Platformer().solve(one).status in ("playable", "unplayable")
        assert Platformer().solve_part(one).reached.shape == shape


def test_needs_something_to_stand_on() -> None:
    air = Level.from_text("--", {"-": ["empty"]})
    assert Platformer().needs(air) == ["solid (the ground to stand on)"]
    assert Platformer().needs(level("X-")) == []


@pytest.mark.parametrize(
    ("facts", "cells", "words"),
    [
        ({}, (), "no cells"),
        ({}, ((1, 0), (1, 1)), "does not say"),
        ({"steps": []}, ((0, 3),), "nobody begins"),
        ({"steps": [["walk"]]}, ((1, 0), (1, 2)), "cannot walk so"),
        ({"steps": [["jump", 0, 1, 3]]}, ((1, 0), (1, 1)), "does not go on"),
        ({"steps": [["walk"]]}, ((1, 0), (1, 1)), "no goal"),
        ({"steps": [None]}, ((1, 0), (1, 1)), "says nothing"),
    ],
)
def test_replay_says_what_is_wrong(facts: dict, cells: tuple, words: str) -> None:
    one = level("----", "----", "XXXX")
    assert words in Platformer().replay(one, Proof(cells, facts=facts))


def test_arcs_rise_to_the_height_reach_as_far_and_leap_nowhere() -> None:
    for height in range(1, 10):
        for reach in (0, 1, 3, 8, 14):
            jumps = arcs(height, reach)
            assert read_arcs(json.loads(json.dumps(jumps))) == jumps
            assert min(row for arc in jumps for _, row in arc) == -height
            assert max(column for arc in jumps for column, _ in arc) == max(reach, 2 if height > 0 else 1)


@pytest.mark.parametrize(
    ("jumps", "words"),
    [
        ([], "1 to 64 arcs"),
        ("none.json", "cannot read the jump arcs"),
        ([[]], "arc 0"),
        ([[[0, -1]], [[0, -3]]], "arc 1: step 0 leaps"),
        ([[[0, 0.5]]], "not two whole numbers"),
        ([[[0, True]]], "not two whole numbers"),
        ({"heigth": 3}, "did you mean 'height'"),
        ({"height": 99, "reach": -1}, "jumps.reach"),
        (7, "1 to 64 arcs"),
    ],
)
def test_wrong_arcs_are_named(jumps: object, words: str) -> None:
    with pytest.raises(DataError) as caught:
        Platformer(jumps=jumps)
    assert words in str(caught.value)


def test_arcs_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "arcs.json").write_text(json.dumps({"jumps": SMALL}))
    assert Platformer(jumps="arcs.json", folder=tmp_path).physics.jumps[1][3] == (4, -1)
    (tmp_path / "bad.json").write_text("[[[")
    with pytest.raises(DataError, match="no jump arcs"):
        Platformer(jumps="bad.json", folder=tmp_path)
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="no jump arcs"):
        Platformer(jumps="deep.json", folder=tmp_path)


def test_all_wrong_options_come_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        Platformer(enemies="hazzard", leave="never", drift=2, margin=0)
    assert len(caught.value.problems) == 4
    assert "did you mean 'hazard'" in str(caught.value)


PIPES = {"-": ["empty"], "X": ["solid"], **{tile: ["solid", "pipe"] for tile in "<>[]"}}


def pipes(*rows: str) -> Level:
    return Level.from_text("\n".join(rows), PIPES)


WHOLE = pipes("-<>---<>-", "-[]---[]-", "-[]-<>[]-", "XXXXXXXXX")


def test_learns_from_maps_what_a_pipe_is() -> None:
    rules = learn_structures([WHOLE, WHOLE])
    found = {(rule.tile, rule.side): rule for rule in rules}
    assert found["<", "right"].names == {">"}
    assert found["]", "left"].names == {"["}
    assert found["[", "above"].names == {"<", "["}
    assert found["[", "below"].solid
    assert ("<", "left") not in found
    platformer = Platformer(structures=[rule.as_dict() for rule in rules])
    assert platformer.flaws(WHOLE) == []
    flaws = platformer.flaws(pipes("-<---", "-[]--", "-----", "XXXXX"))
    assert {flaw.at for flaw in flaws} == {(0, 1), (1, 1), (1, 2)}
    assert flaws[0].message == "'<' at row 0, column 1 needs '>' right, but there is '-'"


def test_patterns_say_what_a_pipe_is() -> None:
    platformer = Platformer(structures=[[["<", ">"], ["[", "]"]]])
    assert platformer.flaws(pipes("-<>-", "-[]-", "-[]-", "XXXX")) == []
    assert platformer.flaws(pipes("-<>-", "-[]-", "-[]-")) == []
    assert {flaw.at for flaw in platformer.flaws(pipes("-<>-", "-[]-", "----"))} == {(1, 1), (1, 2)}
    assert {flaw.at for flaw in platformer.flaws(pipes("----", "-[]-", "XXXX"))} == {(1, 1), (1, 2)}


def test_the_right_edge_of_a_part_may_cut_a_pipe() -> None:
    platformer = Platformer(structures=[[["<", ">"], ["[", "]"]]])
    cut = pipes("--<", "--[", "XXX")
    assert len(platformer.flaws(cut)) == 2
    assert platformer.flaws(cut, part=True) == []


def test_wrong_structures_are_named() -> None:
    with pytest.raises(DataError) as caught:
        Platformer(structures=[[["<", ">"], ["["]], {"tile": 3}, {"tile": "<", "rigth": [">"]}, 5])
    assert len(caught.value.problems) == 4
    assert "did you mean 'right'" in str(caught.value)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the measuring data (NGP_DATA)")
def test_published_levels_are_as_completable_as_the_published_solver_says() -> None:
    legend = json.loads((DATA / "smb.json").read_text())["tiles"]
    meanings = {tile: ["solid"] if "solid" in words else ["empty"] for tile, words in legend.items()}
    meanings |= {tile: [*meanings[tile], "pipe"] for tile in "<>[]"} | {tile: ["empty"] for tile in "DY"}

    def read(folder: str) -> list[Level]:
        return [Level.from_text(path.read_text(), meanings) for path in sorted((DATA / folder).glob("*.txt"))]

    published = Platformer(jumps=str(DATA / "jump_arcs.json"))
    counts = {}
    for folder in ("smb", "smb2j", "rivals/mariogpt", "rivals/marioDiffusion", "rivals/mariogan"):
        levels = read(folder)
        answers = [published.solve(one) for one in levels]
        counts[folder] = sum(answer.playable for answer in answers)
        wrong = [published.replay(one, a.proof) for one, a in zip(levels, answers, strict=True) if a.playable]
        assert not any(wrong)
    assert counts == {
        "smb": 15, "smb2j": 17, "rivals/mariogpt": 75, "rivals/marioDiffusion": 40, "rivals/mariogan": 60,
    }  # fmt: skip
    landing = Platformer(jumps=str(DATA / "jump_arcs.json"), leave="landing")
    assert sum(landing.solve(one).playable for one in read("rivals/mariogpt")) == 71
    sides = [{"tile": tile, side: [other]} for tile, side, other in
             (("<", "right", ">"), (">", "left", "<"), ("[", "right", "]"), ("]", "left", "["))]  # fmt: skip
    assert sum(bool(Platformer(structures=sides).flaws(one)) for one in read("rivals/mariogpt")) == 47
