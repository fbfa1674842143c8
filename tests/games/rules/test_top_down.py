"""Top-down walking: exact with keys, doors and one-way steps; proofs replay, tampered ones never do."""

from __future__ import annotations

import os
import random
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.rules.contract import Budget, Proof
from newgameplus.games.rules.top_down import TopDown
from newgameplus.games.scenes import Level

TILES = {
    ".": ["empty"], "#": ["solid"], "@": ["start"], "G": ["goal"], "k": ["key"], "r": ["key:red"], "D": ["door"],
    "R": ["door:red", "solid"], "^": ["one-way-up"], "v": ["one-way-down"], "<": ["one-way-left"],
    ">": ["one-way-right"], "c": ["collectable"], "~": ["liquid"], "!": ["hazard"], "x": ["breakable", "solid"],
    "b": ["box"], " ": ["void"], "=": ["liquid", "empty"],
}  # fmt: skip
DUNGEON = {
    "F": ["empty"], "B": ["solid"], "M": ["enemy"], "P": ["liquid"], "O": ["liquid", "empty"],
    "I": ["liquid", "solid"], "D": ["door"], "S": ["empty"], "W": ["solid"], "-": ["void"],
}  # fmt: skip
DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[3].parent / "shared" / "data")) / "scenes" / "zelda"
WAYS = {(-1, 0): "^", (1, 0): "v", (0, -1): "<", (0, 1): ">"}
Cell = tuple[int, int]


def level(text: str) -> Level:
    return Level.from_text(text, TILES)


class BruteForce:
    """Every state of a small level: where one is, doors opened, keys taken, goals met (or cells within reach)."""

    def __init__(self, text: str, goals: str, kept: bool) -> None:
        lines = text.split("\n")
        self.at = {(r, c): mark for r, line in enumerate(lines) for c, mark in enumerate(line)}
        self.goals, self.kept = goals, kept
        self.doors = {cell: self.whole_door(cell) for cell in self.at if self.at[cell] in "DR"}

    def whole_door(self, cell: Cell) -> frozenset[Cell]:
        found, edge = {cell}, [cell]
        while edge:
            row, column = edge.pop()
            for down, right in WAYS:
                other = (row + down, column + right)
                if self.at.get(other) == self.at[cell] and other not in found:
                    found.add(other)
                    edge.append(other)
        return frozenset(found)

    def around(self, cell: Cell) -> list[Cell]:
        near = []
        for (down, right), mark in WAYS.items():
            other = (cell[0] + down, cell[1] + right)
            if self.at.get(other, "#") != "#" and (self.at[other] not in "^v<>" or self.at[other] == mark):
                near.append(other)
        return near

    def within_reach(self, cell: Cell, opened: frozenset[frozenset[Cell]]) -> frozenset[Cell]:
        found, edge = {cell}, [cell]
        while edge:
            for other in self.around(edge.pop()):
                if other not in found and (other not in self.doors or self.doors[other] in opened):
                    found.add(other)
                    edge.append(other)
        return frozenset(found)

    def won(self, got: frozenset[Cell]) -> bool:
        if self.goals == "none":
            floor = [cell for cell in self.at if self.at[cell] != "#"]
            return {cell for cell in floor if self.at[cell] in "krDR"} <= got and len(got) >= 0.9 * len(floor) - 1e-9
        goals = {cell for cell in self.at if self.at[cell] == "G"}
        return bool(goals & got) if self.goals == "any" else goals <= got

    def held(self, mark: str, opened: frozenset[frozenset[Cell]], keys: frozenset[Cell]) -> int:
        taken = sum(self.at[cell] == {"D": "k", "R": "r"}[mark] for cell in keys)
        return taken if self.kept else taken - sum(self.at[next(iter(door))] == mark for door in opened)

    def enter(
        self, cell: Cell, opened: frozenset[frozenset[Cell]], keys: frozenset[Cell], got: frozenset[Cell]
    ) -> list[tuple[Cell, frozenset[frozenset[Cell]], frozenset[Cell], frozenset[Cell]]]:
        if cell in self.doors and self.doors[cell] not in opened:
            if self.held(self.at[cell], opened, keys) <= 0:
                return []
            opened = opened | {self.doors[cell]}
            if self.goals == "none":
                got = got | self.within_reach(cell, opened)
        if self.at[cell] in "kr":
            keys = keys | {cell}
        if self.at[cell] == "G" and self.goals != "none":
            got = got | {cell}
        return [(cell, opened, keys, got)]

    def playable(self, limit: int = 30_000) -> bool | None:
        start = next(cell for cell in self.at if self.at[cell] == "@")
        none: frozenset[Any] = frozenset()
        first = (start, none, none, self.within_reach(start, none) if self.goals == "none" else none)
        met, todo = {first}, deque([first])
        while todo:
            cell, opened, keys, got = todo.popleft()
            if self.won(got):
                return True
            states = {state for other in self.around(cell) for state in self.enter(other, opened, keys, got)} - met
            met |= states
            todo += sorted(states, key=lambda state: state[0])
            if len(met) > limit:
                return None
        return False


def random_text(rng: random.Random) -> str:
    height, width = rng.randint(1, 6), rng.randint(3, 6)
    one_ways = [rng.choice([0.0, 0.7])] * 4
    marks = rng.choices(".#^v<>", [8, rng.choice([3, 6]), *one_ways], k=height * width)
    items = ["@", *"G" * rng.choice([0, 1, 1, 2]), *"k" * rng.randint(0, 2), *"D" * rng.randint(0, 3)]
    items = [*items, *"r" * (rng.random() < 0.3), *"R" * (rng.random() < 0.3)][: height * width]
    for place, item in zip(rng.sample(range(height * width), len(items)), items, strict=True):
        marks[place] = item
    return "\n".join("".join(marks[row * width : (row + 1) * width]) for row in range(height))


@pytest.mark.parametrize("goals", ["all", "any", "none"])
@pytest.mark.parametrize("keys", ["spent", "kept"])
def test_agrees_with_brute_force(goals: str, keys: str) -> None:
    rng = random.Random(f"{goals} {keys}")
    rules = TopDown(goals=goals, keys=keys, doors="need-keys")
    found: Counter[str] = Counter()
    for _ in range(350):
        text = random_text(rng)
        if goals != "none" and "G" not in text:
            continue
        expected = BruteForce(text, goals, keys == "kept").playable()
        if expected is None:
            continue
        answer = rules.solve(level(text))
        assert answer.status == ("playable" if expected else "unplayable"), text
        found[answer.status] += 1
        if answer.proof is not None:
            assert rules.replay(level(text), answer.proof) == "", text
        else:
            assert answer.reason, text
    assert min(found["playable"], found["unplayable"]) > 50


SPEND = "#########\n#.k@DG#.#\n#D#######\n#.......#\n#########"


def test_spending_the_only_key_on_the_wrong_door_is_avoided() -> None:
    answer = TopDown().solve(level(SPEND))
    assert answer.proof is not None
    assert answer.proof.facts == {"doors": ((3, 1, 4),), "keys": ((1, 1, 2),)}
    assert answer.measures == {"path_length": 5.0, "keys_used": 1.0, "doors_opened": 1.0, "nodes": 1.0}
    assert answer.reached is not None


def test_only_needed_keys_are_fetched_and_only_needed_doors_opened() -> None:
    text = "#########\n#k@D...G#\n#..######\n#..D.k..#\n#########"
    answer = TopDown().solve(level(text))
    assert answer.measures["doors_opened"] == 1
    assert answer.measures["keys_used"] == 1


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("@.#.G", "no way leads from the start at row 0, column 0 to the goal at row 0, column 4", (0, 4)),
        ("@.D.G", "behind the door at row 0, column 2, and there is no key", (0, 4)),
        ("@kD.D.G", "behind the door at row 0, column 4, and no key is left for it", (0, 6)),
        ("@kR.G", "there is no red key", (0, 4)),
        ("G<@>G", "after one-way steps", None),
        ("....G", "no start", None),
        ("@...@..G", "2 starts", (0, 4)),
        ("@....", "no goal", None),
    ],
)
def test_reasons(text: str, words: str, at: Cell | None) -> None:
    answer = TopDown().solve(level(text))
    assert answer.status == "unplayable"
    assert words in answer.reason
    assert at is None or answer.at == at


def test_goal_in_a_wall() -> None:
    one = Level.from_text("@.X", {"@": ["start"], ".": ["empty"], "X": ["goal", "solid"]})
    answer = TopDown().solve(one)
    assert "stands where one cannot walk" in answer.reason
    assert answer.at == (0, 2)


@pytest.mark.parametrize(
    ("text", "options", "playable"),
    [
        ("@~G", {}, False), ("@~G", {"liquid": "passable"}, True), ("@=G", {}, True),
        ("@!G", {}, False), ("@!G", {"hazards": "passable"}, True), ("@bG", {}, False),
        ("@xG", {}, False), ("@xG", {"breakable": "passable"}, True), ("@ G", {}, False),
        ("@.#\n..#\n##G", {"diagonal": True}, False), ("@.#\n...\n#.G", {"diagonal": True}, True),
        ("@kD.D.G", {"keys": "kept"}, True), ("@D.G", {"doors": "open"}, True), ("@D.G", {}, False),
        ("@k.DDDG", {}, True), ("@kRG", {}, False), ("@rRG", {}, True), ("@rDG", {}, False),
        ("@>G", {}, True), ("@<G", {}, False), ("@#G..G", {"goals": "any"}, False), ("G@#.G", {"goals": "any"}, True),
        ("@D##DG", {"doors": "open"}, True), ("@D##DG", {"doors": "open", "door_depth": 1}, False),
        ("@kD#DG", {"door_depth": 1}, True), ("@kD#DG", {}, False),
    ],
)  # fmt: skip
def test_options(text: str, options: dict[str, Any], playable: bool) -> None:
    rules = TopDown(**options)
    answer = rules.solve(level(text))
    assert answer.playable == playable, answer.reason
    if answer.proof is not None:
        assert rules.replay(level(text), answer.proof) == ""


def test_diagonal_steps_are_shorter_and_cut_no_corners() -> None:
    text = "@..\n...\n..G"
    rules = TopDown(diagonal=True)
    answer = rules.solve(level(text))
    assert answer.proof is not None
    assert answer.proof.cells == ((0, 0), (1, 1), (2, 2))
    assert "step 1" in TopDown().replay(level(text), answer.proof)
    assert "step 1" in rules.replay(level("@#.\n...\n..G"), answer.proof)


def test_without_a_start_the_largest_room_that_works_is_taken() -> None:
    tiles = {key: TILES[key] for key in ".#GkD"}
    one = Level.from_text("......#..G", tiles)
    answer = TopDown().solve(one)
    assert answer.proof is not None
    assert answer.proof.cells == ((0, 7), (0, 8), (0, 9))
    assert TopDown(start="needed").solve(one).status == "unplayable"
    assert TopDown(start="needed").needs(one) == ["start"]


def test_most_cells_within_reach() -> None:
    tiles = {key: TILES[key] for key in ".#@kDc"}
    rules = TopDown()
    one = Level.from_text("@........#.", tiles)
    answer = rules.solve(one)
    assert answer.proof is not None
    assert rules.replay(one, answer.proof) == ""
    assert "90%" in TopDown(share=0.95).solve(one).reason
    assert "what lies at row 0, column 10 is cut off" in rules.solve(Level.from_text("@........#c", tiles)).reason
    assert "no key is left" in rules.solve(Level.from_text("@k.D..D.c", tiles)).reason


def test_maps_in_pieces() -> None:
    rules = TopDown()
    room = "WWWWDDDWWWW\nWFFFFFFFFFW\nWFBBFFPPFFW\nWFFFFFFFFFD\nWWWWWWWWWWW"
    one = Level.from_text(room, DUNGEON)
    answer = rules.solve(one)
    assert answer.proof is not None
    assert rules.replay(one, answer.proof) == ""
    assert answer.measures["pieces"] == 1
    shut = Level.from_text(room.replace("D", "W"), DUNGEON)
    assert "can be reached from a door" in rules.solve(shut).reason
    assert "can be reached from a door" in rules.replay(shut, Proof(((1, 1),)))
    blind = Level.from_text("-" * 11 + "\n" + room, DUNGEON)
    assert "only 50% of the doors lead on: not the one at row 1, column 4" in rules.solve(blind).reason
    assert "of the doors lead on" in rules.replay(blind, Proof(((4, 1),)))
    assert TopDown(pieces="one").solve(one).playable


def test_wrong_options_are_named_all_at_once() -> None:
    with pytest.raises(DataError, match="3 options") as caught:
        TopDown(keys="lost", share=2.0, door_depth=-1)  # type: ignore[arg-type]
    assert "keys is 'lost'" in str(caught.value)
    assert "known: spent, kept" in str(caught.value)


def test_budget_ends_honestly_and_deterministically() -> None:
    doors = "#D#D#D#D#D#D#D#D#"
    text = "\n".join(["#" * 17, "#@kkkk..........#", doors, "#c#c#c#c#c#c#c#c#", doors, "#k#k#c#c#c#c#c#G#", "#" * 17])
    answer = TopDown().solve(level(text), Budget(nodes=1))
    assert answer.status == "undecided"
    assert "within 1 stages" in answer.reason
    assert TopDown().solve(level(text), Budget(seconds=0.0)).status in ("undecided", "playable")
    first, second = (TopDown().solve(level(text)) for _ in range(2))
    assert first.proof == second.proof is not None


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1), (1, 400), (200, 200)])
@pytest.mark.parametrize("mark", list(TILES))
def test_odd_grids_never_raise(shape: tuple[int, int], mark: str) -> None:
    one = level("".join(TILES))
    grid = np.full(shape, one.tileset.index[mark], np.int32)
    for options in ({}, {"start": "free", "goals": "none"}, {"pieces": "any"}):
        rules = TopDown(**options)
        answer = rules.solve(one.with_tiles(grid), Budget(nodes=50))
        assert answer.proof is not None or answer.reason


@pytest.mark.parametrize("seed", [0, 1])
def test_huge_noise_ends_within_the_budget(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = level("@.#GkDrR^v<>")
    grid = rng.choice(12, (200, 200), p=[0, 0.62, 0.2, 0.001, 0.009, 0.01, 0.01, 0.01, *[0.035] * 4]).astype(np.int32)
    grid[100, 100] = 0
    answer = TopDown(doors="need-keys").solve(one.with_tiles(grid), Budget(nodes=500))
    assert answer.proof is not None or answer.reason


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_grid_of_tiles_gets_an_answer(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    marks = data.draw(st.lists(st.sampled_from(list(TILES)), min_size=height * width, max_size=height * width))
    one = level("\n".join("".join(marks[row * width : (row + 1) * width]) for row in range(height)))
    options = {
        "diagonal": st.booleans(), "hazards": st.sampled_from(["blocks", "passable"]),
        "liquid": st.sampled_from(["blocks", "passable"]), "breakable": st.sampled_from(["blocks", "passable"]),
        "keys": st.sampled_from(["spent", "kept"]), "doors": st.sampled_from(["auto", "need-keys", "open"]),
        "door_depth": st.sampled_from(["auto", 0, 1, 2, 3]), "start": st.sampled_from(["auto", "needed", "free"]),
        "goals": st.sampled_from(["all", "any", "none"]), "share": st.sampled_from(["auto", 0.0, 0.3, 1.0]),
        "pieces": st.sampled_from(["auto", "one", "any"]),
    }  # fmt: skip
    rules = TopDown(**data.draw(st.fixed_dictionaries({}, optional=options)))
    answer = rules.solve(one, Budget(nodes=300))
    assert (answer.proof is None) == (answer.status != "playable")
    assert answer.proof is not None or answer.reason
    if answer.proof is not None:
        assert rules.replay(one, answer.proof) == ""


KEYS = "########\n#@.k.D.#\n#.##.#.#\n#k.R.DG#\n#r######\n########"


def test_tampered_proofs_never_hold() -> None:
    one, rules = level(KEYS), TopDown()
    proof = rules.solve(one).proof
    assert proof is not None
    assert rules.replay(one, proof) == ""
    for index, (row, column) in enumerate(proof.cells):
        for down, right in ((0, 2), (2, 0), (-1, -1), (1, 1), (0, 0)):
            moved = (row + down, column + right)
            cells = (*proof.cells[:index], moved, *proof.cells[index + 1 :])
            if moved != (row, column):
                assert rules.replay(one, replace(proof, cells=cells)), (index, moved)
        if index:
            assert rules.replay(one, replace(proof, cells=(*proof.cells[:index], *proof.cells[index + 1 :])))
    for name in ("doors", "keys"):
        assert rules.replay(one, replace(proof, facts={**proof.facts, name: ()}))
    assert rules.replay(one, replace(proof, cells=proof.cells[:-1]))
    assert rules.replay(one, Proof(()))
    assert "no key" in rules.replay(level("@D.G"), Proof(((0, 0), (0, 1), (0, 2), (0, 3))))
    assert "step 2" in rules.replay(level("@.#G"), Proof(((0, 0), (0, 1), (0, 2), (0, 3))))
    assert "step 1" in rules.replay(level("@<.G"), Proof(((0, 0), (0, 1), (0, 2), (0, 3))))


@pytest.mark.skipif(not DATA.is_dir(), reason="the Zelda dungeons (NGP_DATA, or ../shared/data) are not here")
def test_zelda_dungeons_pass_and_shuffled_ones_do_not() -> None:
    rules, rng = TopDown(), np.random.default_rng(0)
    for file in sorted((DATA / "dungeons").glob("tloz*.txt")):
        one = Level.from_text(file.read_text(), DUNGEON)
        answer = rules.solve(one)
        assert answer.proof is not None, (file, answer.reason)
        assert rules.replay(one, answer.proof) == ""
        assert not rules.solve(one.with_tiles(rng.permuted(one.tiles.ravel()).reshape(one.tiles.shape))).playable
