"""Sokoban: the solver agrees with brute force, proofs replay, tampered ones never do, and no grid makes it raise."""

from __future__ import annotations

import os
import random
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.games.rules.contract import Budget, Proof
from newgameplus.games.rules.sokoban import Sokoban
from newgameplus.games.rules.sokoban_matching import first_matching, rematch
from newgameplus.games.scenes import Level

TILES = {
    " ": ["empty"], "#": ["solid"], "$": ["box"], ".": ["goal"], "@": ["start"], "*": ["box", "goal"],
    "+": ["start", "goal"], "-": ["void"],
}  # fmt: skip
DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[3].parent / "shared" / "data")) / "scenes" / "sokoban"
STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))
RULES = Sokoban()


def level(text: str) -> Level:
    lines = text.strip("\n").split("\n")
    width = max(map(len, lines))
    return Level.from_text("\n".join(line.ljust(width) for line in lines), TILES)


def brute_force(text: str) -> bool:
    """Whether any order of single steps puts all boxes on goals; a state is simply where everything is."""
    at = {(r, c): mark for r, line in enumerate(text.split("\n")) for c, mark in enumerate(line)}
    boxes = frozenset(cell for cell in at if at[cell] in "$*")
    goals = {cell for cell in at if at[cell] in ".+*"}
    start = next(cell for cell in at if at[cell] in "@+")
    todo = deque([(start, boxes)])
    met = set(todo)
    while todo:
        (row, column), boxes = todo.popleft()
        if boxes <= goals:
            return True
        for down, right in STEPS:
            ahead, beyond = (row + down, column + right), (row + 2 * down, column + 2 * right)
            if at.get(ahead, "#") == "#" or (ahead in boxes and (beyond in boxes or at.get(beyond, "#") == "#")):
                continue
            state = (ahead, boxes - {ahead} | {beyond} if ahead in boxes else boxes)
            if state not in met:
                met.add(state)
                todo.append(state)
    return False


def random_text(rng: random.Random, boxes: int) -> str:
    height, width = rng.randint(1, 6), rng.randint(2, 6)
    if height * width < 2 * boxes + 1:
        return "@$."
    marks = [" " if rng.random() < 0.8 else "#" for _ in range(height * width)]
    start, *places = rng.sample(range(height * width), boxes + 1)
    for place in places:
        marks[place] = "$"
    marks[start] = "@"
    for place in rng.sample(range(height * width), boxes):
        marks[place] = {"$": "*", "@": "+"}.get(marks[place], ".")
    return "\n".join("".join(marks[row * width : (row + 1) * width]) for row in range(height))


@pytest.mark.parametrize(("boxes", "count", "seed"), [(1, 600, 1), (2, 700, 2), (3, 250, 3)])
def test_agrees_with_brute_force(boxes: int, count: int, seed: int) -> None:
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    for _ in range(count):
        text = random_text(rng, boxes)
        answer = RULES.solve(level(text))
        assert answer.status == ("playable" if brute_force(text) else "unplayable"), text
        found[answer.status] += 1
        if answer.proof is not None:
            assert RULES.replay(level(text), answer.proof) == "", text
        else:
            assert answer.reason, text
    assert min(found["playable"], found["unplayable"]) > count // 50


def test_proof_measures_and_reached() -> None:
    one = level("######\n#@$ .#\n#    #\n######")
    answer = RULES.solve(one)
    assert answer.playable
    assert answer.proof is not None
    assert answer.proof.moves == "RR"
    assert answer.proof.cells == ((1, 1), (1, 2), (1, 3))
    assert answer.measures == {"nodes": 2.0, "boxes": 1.0, "pushes": 2.0, "path_length": 2.0}
    assert answer.reached is not None
    assert answer.reached.shape == (4, 6)
    assert not (answer.reached & one.where("solid")).any()


def test_solved_already() -> None:
    answer = RULES.solve(level("@*"))
    assert answer.proof == Proof(((0, 0),))
    assert RULES.replay(level("@*"), Proof(((0, 0),))) == ""


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("####\n#$.#\n####", "no start", None),
        ("#####\n#@$@#\n#  .#\n#####", "2 starts", (1, 3)),
        ("#####\n#@ .#\n#####", "no box", None),
        ("#####\n#@$ #\n#####", "1 box and only 0 goals", (1, 2)),
        ("@$ ..", "2 goals and only 1 box", (0, 3)),
        ("@$$ .", "2 boxes and only 1 goal", (0, 1)),
        ("#####\n#@  #\n#  .#\n#$  #\n#####", "box at row 3, column 1 can never leave its dead square", (3, 1)),
        ("######\n#@ #.#\n#  ###\n# $  #\n#    #\n######", "goal too few where the player can get to", (3, 2)),
        ("#####\n#@#$#\n# #.#\n#####", "never get to the box at row 1, column 3", (1, 3)),
    ],
)
def test_reasons(text: str, words: str, at: tuple[int, int] | None) -> None:
    answer = RULES.solve(level(text))
    assert answer.status == "unplayable"
    assert words in answer.reason
    assert answer.at == at


def test_frozen_block_is_seen_without_searching() -> None:
    answer = RULES.solve(level("########\n#@     #\n#  $$  #\n#  $$  #\n# .... #\n#      #\n########"))
    assert answer.status == "unplayable"
    assert answer.measures["nodes"] == 0
    assert "can never move" in answer.reason


def test_a_corral_that_must_be_opened_leaves_only_its_own_pushes() -> None:
    from newgameplus.games.rules.sokoban_board import Board, flood, read_plan
    from newgameplus.games.rules.sokoban_corrals import Corrals

    # The right part can only be opened by pushing its box in; the other box can wait.
    text = "##########\n#@   #   #\n# $  $ . #\n#  . #   #\n##########"
    board = Board.of(read_plan(level(text)))
    reach = flood(board.player, board.floor & ~board.boxes, board.stride)
    pushes = Corrals(board, board.floor).first_pushes(board.boxes, reach)
    assert pushes is not None
    assert [one.bit_count() for one in pushes] == [1, 0, 0, 0]
    assert RULES.solve(level(text)).playable
    assert brute_force(text)


def test_exhausted_search_says_how_many_positions() -> None:
    # Each box can get to each goal, but the first one in closes the corridor.
    text = "#######\n#  #  #\n# $.$ #\n#@ #. #\n#######"
    assert not brute_force(text)
    answer = RULES.solve(level(text))
    assert answer.status == "unplayable"
    assert "were searched" in answer.reason or "was searched" in answer.reason


def test_budget_ends_honestly_and_deterministically() -> None:
    text = "##########\n#@       #\n# $ $ $  #\n#  $ $   #\n#        #\n# .....  #\n##########"
    answer = RULES.solve(level(text), Budget(nodes=5))
    assert answer.status == "undecided"
    assert answer.proof is None
    assert "within" in answer.reason
    assert answer.at is not None
    assert RULES.solve(level(text), Budget(seconds=0.0)).status == "undecided"
    first, second = (RULES.solve(level(text)) for _ in range(2))
    assert first.proof == second.proof is not None


def test_spare_goals() -> None:
    one = level("@$ ..")
    rules = Sokoban(spare_goals=True)
    answer = rules.solve(one)
    assert answer.proof is not None
    assert answer.proof.moves == "RR"
    assert rules.replay(one, answer.proof) == ""
    assert "not a level" in RULES.replay(one, answer.proof)
    assert rules.solve(level("@$$.")).status == "unplayable"


def test_border_is_a_wall() -> None:
    assert RULES.solve(level("@$.")).playable
    assert RULES.solve(level(".@$")).status == "unplayable"


def test_needs() -> None:
    assert RULES.needs(level("@$.")) == []
    bare = Level.from_text("# #", {"#": ["solid"], " ": ["empty"]})
    assert RULES.needs(bare) == ["box", "goal", "start"]
    assert RULES.solve(bare).status == "unplayable"


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 300), (200, 200), (0, 7)])
@pytest.mark.parametrize("mark", ["@", "$", " ", "#", "*"])
def test_odd_grids_never_raise(shape: tuple[int, int], mark: str) -> None:
    one = level(mark + "".join(TILES))
    grid = np.full(shape, one.tileset.index[mark], np.int32)
    answer = RULES.solve(one.with_tiles(grid), Budget(nodes=50))
    assert answer.status == "unplayable"
    assert answer.reason


def test_huge_levels_end_within_the_budget() -> None:
    rng = np.random.default_rng(0)
    one = level(" #$.@")
    grid = rng.choice(2, (200, 200), p=[0.9, 0.1]).astype(np.int32)
    grid[99:102, 100:104] = 0
    grid[100, 100:104] = (4, 0, 2, 3)
    assert RULES.solve(one.with_tiles(grid), Budget(nodes=20_000)).playable
    places = rng.permutation(np.argwhere(grid == 0))
    for mark, (row, column) in zip([2, 3] * 100, places, strict=False):
        grid[row, column] = mark
    assert RULES.solve(one.with_tiles(grid), Budget(nodes=3000)).status in ("undecided", "unplayable")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_grid_of_tiles_gets_an_answer(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    marks = st.text(alphabet="".join(TILES), min_size=width, max_size=width)
    one = level("\n".join(data.draw(st.lists(marks.map(lambda t: t), min_size=height, max_size=height))) or " ")
    answer = RULES.solve(one, Budget(nodes=300))
    assert (answer.proof is None) == (answer.status != "playable")
    if answer.proof is not None:
        assert RULES.replay(one, answer.proof) == ""


MAZE = "########\n#      #\n# .**$@#\n#      #\n#####  #\n    ####"


def test_tampered_proofs_never_hold() -> None:
    one = level(MAZE)
    proof = RULES.solve(one).proof
    assert proof is not None
    for index, move in enumerate(proof.moves):
        for other in "udlrUDLRx":
            if other != move:
                moves = proof.moves[:index] + other + proof.moves[index + 1 :]
                assert RULES.replay(one, replace(proof, moves=moves)), (index, other)
    for index, (row, column) in enumerate(proof.cells):
        cells = (*proof.cells[:index], (row, column + 1), *proof.cells[index + 1 :])
        assert RULES.replay(one, replace(proof, cells=cells)), index
    assert RULES.replay(one, replace(proof, cells=proof.cells[:-1]))
    assert RULES.replay(one, Proof(proof.cells[:-1], proof.moves[:-1]))
    assert RULES.replay(one, Proof((), ""))
    assert RULES.replay(level("@$."), proof)


def test_replay_names_the_step() -> None:
    one = level("######\n#@$ .#\n######")
    assert "step 1" in RULES.replay(one, Proof(((1, 1), (1, 0)), "l"))
    assert "step 1" in RULES.replay(one, Proof(((1, 1), (1, 2)), "r"))
    assert "after step 1" in RULES.replay(one, Proof(((1, 1), (1, 2)), "R"))
    assert "step 3" in RULES.replay(one, Proof(((1, 1), (1, 2), (1, 3), (1, 4)), "RRR"))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_matching_is_the_cheapest_after_every_change(count: int, rng: random.Random) -> None:
    from scipy.optimize import linear_sum_assignment

    costs = [[rng.choice([rng.randint(0, 9), 10**9]) for _ in range(count)] for _ in range(count)]
    matching = first_matching(costs)
    for _ in range(6):
        total = sum(costs[box][goal] for box, goal in enumerate(matching[0]))
        table = np.array(costs)
        assert sorted(matching[0]) == list(range(count))
        assert total == table[linear_sum_assignment(table)].sum()
        box = rng.randrange(count)
        costs[box] = [rng.choice([rng.randint(0, 9), 10**9]) for _ in range(count)]
        matching = rematch(costs, matching, box)


def read_puzzles(file: Path) -> list[Level]:
    puzzles = [part.split("\n", 1)[1].strip("\n") for part in ("\n" + file.read_text()).split("\n;")[1:]]
    return [level(text) for text in puzzles if "@" in text or "+" in text]


@pytest.mark.skipif(not DATA.is_dir(), reason="the Sokoban data (NGP_DATA, or ../shared/data) are not here")
def test_published_puzzles_are_solved() -> None:
    boxoban = read_puzzles(sorted((DATA / "boxoban_medium" / "valid").iterdir())[0])[:60]
    microban = read_puzzles(DATA / "microban" / "001.txt")[:60]
    for one in boxoban + microban:
        answer = RULES.solve(one, Budget(nodes=4000))
        if answer.proof is not None:
            assert RULES.replay(one, answer.proof) == ""
        assert answer.status != "unplayable"
    assert all(RULES.solve(one, Budget(nodes=4000)).playable for one in boxoban)
