from __future__ import annotations

import numpy as np
import pytest

from newgameplus.errors import RecipeError
from newgameplus.games.rules.contract import Budget, Proof
from newgameplus.games.rules.reachability import Reachability
from newgameplus.games.scenes import Level

TILES = {"-": ["empty"], "X": ["solid"], "@": ["start"], "G": ["goal"], "^": ["hazard"], "E": ["enemy"]}
SIDES = [(0, 1), (1, 0), (0, -1), (-1, 0)]
ALL = [*SIDES, (1, 1), (1, -1), (-1, 1), (-1, -1)]


def flood(rows: list[str], begin: tuple[int, int], steps: list) -> set:
    seen, edge = {begin}, [begin]
    while edge:
        r, c = edge.pop()
        for down, right in steps:
            at = r + down, c + right
            inside = 0 <= at[0] < len(rows) and 0 <= at[1] < len(rows[0])
            if inside and rows[at[0]][at[1]] not in "X^" and at not in seen:
                seen.add(at)
                edge.append(at)
    return seen


def oracle(rows: list[str], steps: list, share: float) -> bool:
    cells = [(r, c) for r in range(len(rows)) for c in range(len(rows[0]))]
    free = [cell for cell in cells if rows[cell[0]][cell[1]] not in "X^"]
    starts = [cell for cell in free if rows[cell[0]][cell[1]] == "@"]
    goals = {cell for cell in free if rows[cell[0]][cell[1]] == "G"}
    if starts and goals:
        return any(goals <= flood(rows, start, steps) for start in starts)
    regions = [flood(rows, cell, steps) for cell in starts or free]
    if not regions:
        return False
    largest = max(map(len, regions))
    return any(goals <= region and len(region) >= share * len(free) and len(region) == largest for region in regions)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_brute_force_and_its_proofs_hold(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(250):
        shape = random.integers(1, 8, 2)
        grid = random.choice(list("-X^E"), shape, p=[0.62, 0.3, 0.04, 0.04])
        for tile in "@" * random.integers(3) + "G" * random.integers(4):
            grid[random.integers(shape[0]), random.integers(shape[1])] = tile
        rows = ["".join(row) for row in grid]
        neighbors, share = int(random.choice([4, 8])), float(random.choice([0.0, 0.5, 0.9, 1.0]))
        rules, one = Reachability(neighbors=neighbors, share=share), Level.from_text("\n".join(rows), TILES)
        answer = rules.solve(one)
        assert answer.playable == oracle(rows, ALL if neighbors == 8 else SIDES, share), rows
        assert bool(answer.reason) != answer.playable
        if answer.playable:
            assert rules.replay(one, answer.proof) == ""
            assert all(answer.reached[cell] for cell in answer.proof.cells)
            if len(answer.proof.cells) > 2:
                del_one = answer.proof.cells[:1] + answer.proof.cells[2:]
                assert rules.replay(one, Proof(del_one)) != "" or neighbors == 8
                assert rules.replay(one, Proof(((99, 0), *answer.proof.cells))) != ""


def test_the_way_passes_every_goal() -> None:
    one = Level.from_text("G-XG\n--@-\nGX-G", TILES)
    answer = Reachability().solve(one)
    assert set(one.cells("goal")) <= set(answer.proof.cells)
    assert answer.proof.cells[0] == (1, 2)
    assert answer.measures["path_length"] == len(answer.proof.cells) < 16


def test_says_which_goal_is_cut_off() -> None:
    answer = Reachability().solve(Level.from_text("@--X-\n---XG", TILES))
    assert answer.reason == (
        "the goal at row 1, column 4 cannot be reached from the start at row 0, column 0: stuck at row 1, column 2"
    )
    assert answer.at == (1, 2)


def test_without_goals_the_region_must_be_large_enough() -> None:
    one = Level.from_text("----X-", TILES)
    assert Reachability(share=0.8).solve(one).playable
    answer = Reachability(share=0.9).solve(one)
    assert "holds 4 of 5" in answer.reason
    assert "row 0, column 5 is cut off" in answer.reason
    assert "4 of 5" in Reachability(share=0.9).replay(one, Proof(((0, 0),)))


def test_a_wall_everywhere_a_small_budget_and_what_is_blocked() -> None:
    assert Reachability().solve(Level.from_text("XX", TILES)).status == "unplayable"
    assert Reachability().solve(Level.from_text("----", TILES), Budget(nodes=3)).status == "undecided"
    dangerous = Level.from_text("@^G", TILES)
    assert not Reachability().solve(dangerous).playable
    assert Reachability(blocked=["solid"]).solve(dangerous).playable


def test_all_wrong_options_come_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        Reachability(neighbors=5, share=float("nan"), blocked=["sollid"])
    assert len(caught.value.problems) == 3
    assert "did you mean 'solid'" in str(caught.value)


def test_a_large_open_level_is_quick_to_walk() -> None:
    grid = np.zeros((200, 400), np.int32)
    grid[::7, ::5] = 3
    one = Level.from_text("-", TILES).with_tiles(grid)
    answer = Reachability().solve(one)
    assert answer.playable
    assert Reachability().replay(one, answer.proof) == ""
