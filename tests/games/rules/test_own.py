from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from newgameplus.errors import DataError, RecipeError
from newgameplus.games.rules import Answer, open_rules
from newgameplus.games.rules.contract import Budget, Proof
from newgameplus.games.rules.own import load_rules
from newgameplus.games.rules.own_moves import Move, MoveRules, MoveTable
from newgameplus.games.scenes import Level

TILES = {
    "-": ["empty"],
    "X": ["solid"],
    "@": ["start"],
    "G": ["goal"],
    "^": ["hazard"],
    "H": ["climbable"],
    "r": ["key:red"],
    "R": ["door:red"],
    "b": ["key:blue"],
    "B": ["door:blue"],
}
EXAMPLE = """\
name: leaping knight
tiles: {".": [empty], "#": [solid], "K": ["key:gold"], "D": ["door:gold"], "@": [start], "X": [goal]}
moves:
  - {name: right, step: [0, 1], forbids: {target: [solid, hazard]}}
  - {name: left, step: [0, -1]}
  - {name: leap, step: [0, 2], forbids: {target: [solid], between: [solid, door]}, needs: {below: [solid]}}
gravity: true
keys: spend
"""


def knight(text: str) -> Level:
    return Level.from_text(text, {tile: [] for tile in ".#KD@X"})


def write(folder: Path, text: str, name: str = "rules.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


class Oracle:
    """The same game told a second time, with the state spelled out."""

    def __init__(self, rows: list[str], table: MoveTable) -> None:
        self.rows, self.table = rows, table
        self.cells = [(r, c) for r in range(len(rows)) for c in range(len(rows[0]))]
        self.goals = {cell for cell in self.cells if self.tile(cell) == "G"}

    def tile(self, cell) -> str:
        return self.rows[cell[0]][cell[1]]

    def means(self, cell, words) -> bool:
        return cell in self.cells and any(word.split(":")[0] in words for word in TILES[self.tile(cell)])

    def enter(self, state, cell):
        _, bag, gone, seen = state
        tile, bag = self.tile(cell), dict(bag)
        if tile in "RB" and cell not in gone and self.table.keys != "ignore":
            if bag.get(tile.lower(), 0) < 1:
                return None
            if self.table.keys == "spend":
                bag[tile.lower()] -= 1
                gone = gone | {cell}
        if tile in "rb" and cell not in gone:
            bag[tile] = bag.get(tile, 0) + 1
            gone = gone | {cell}
        return cell, tuple(sorted(bag.items())), gone, seen | ({cell} & self.goals)

    def moves(self, state):
        (r, c), below, above = state[0], (state[0][0] + 1, state[0][1]), (state[0][0] - 1, state[0][1])
        falls = self.table.gravity and not self.means((r, c), self.table.floats)
        falls = falls and not self.means(below, self.table.carries)
        for move in (self.table.fall,) if falls else self.table.moves:
            to = r + move.step[0], c + move.step[1]
            places = {"from": (r, c), "target": to, "below": below, "above": above}
            places["between"] = ((r + to[0]) // 2, (c + to[1]) // 2)
            good = all(self.means(places[place], words) for place, words in move.needs.items())
            bad = any(self.means(places[place], words) for place, words in move.forbids.items())
            if good and not bad and to in self.cells:
                yield self.enter(state, to)

    def playable(self) -> bool:
        starts = [cell for cell in self.cells if self.tile(cell) == "@"]
        edge = [self.enter((cell, (), frozenset(), frozenset()), cell) for cell in starts]
        known = {None, *edge}
        while edge:
            state = edge.pop()
            if self.goals and (state[3] == self.goals or (state[3] and self.table.goals == "any")):
                return True
            fresh = set(self.moves(state)) - known
            known |= fresh
            edge += fresh
        return False


WALL = {"target": ("solid", "hazard")}
WALKS = (Move("right", (0, 1), forbids=WALL), Move("left", (0, -1), forbids=WALL))
TURNS = (Move("up", (-1, 0), forbids=WALL), Move("down", (1, 0), forbids=WALL))
LEAPS = (
    Move("leap", (0, 2), {"below": ("solid",)}, {"target": ("solid",), "between": ("solid", "hazard")}),
    Move("climb", (-1, 0), {"from": ("climbable",)}, WALL),
    Move("hop", (-1, 1), {"below": ("solid", "door")}, {"target": ("solid",), "above": ("solid",)}),
)


@pytest.mark.parametrize("seed", range(4))
def test_tables_of_moves_agree_with_brute_force_and_their_proofs_hold(seed: int) -> None:
    random = np.random.default_rng(seed)
    playable = 0
    for _ in range(120):
        gravity = bool(random.random() < 0.5)
        table = MoveTable(
            WALKS + (LEAPS if gravity else TURNS + LEAPS[:1]),
            gravity=gravity,
            goals=str(random.choice(["all", "any"])),
            keys=str(random.choice(["spend", "keep", "ignore"])),
        )
        shape = random.integers(2, 6), random.integers(2, 7)
        grid = random.choice(list("-X^HrRbB"), shape, p=[0.5, 0.2, 0.04, 0.06, 0.05, 0.05, 0.05, 0.05])
        for tile in "@" + "@" * (random.random() < 0.1) + "G" * random.integers(1, 3):
            grid[random.integers(shape[0]), random.integers(shape[1])] = tile
        rows = ["".join(row) for row in grid]
        one, rules = Level.from_text("\n".join(rows), TILES), MoveRules(table)
        answer = rules.solve(one, Budget(nodes=50_000))
        if not (one.cells("start") and one.cells("goal")):
            assert not answer.playable
            continue
        assert answer.playable == Oracle(rows, table).playable(), (table, rows, answer.reason)
        if not answer.playable:
            assert answer.reason
            continue
        playable += 1
        proof = answer.proof
        assert rules.replay(one, proof) == ""
        if len(proof.cells) > 1:
            moves = list(proof.facts["moves"])
            assert rules.replay(one, Proof(proof.cells[:-1], facts={"moves": moves[:-1]})) != ""
            assert (
                rules.replay(one, Proof(proof.cells[1:], facts={"moves": moves[1:]})) != ""
                or rows[proof.cells[1][0]][proof.cells[1][1]] == "@"
            )
            assert rules.replay(one, Proof(proof.cells, facts={"moves": ["teleport", *moves[1:]]})) != ""
            assert rules.replay(one, Proof(proof.cells, facts={"moves": moves[1:]})) != ""
    assert playable > 10


def test_a_file_of_rules_plays_its_game(tmp_path: Path) -> None:
    rules = load_rules(write(tmp_path, EXAMPLE))
    assert rules.name == "leaping knight"
    good = knight("@K.D.X\n######\n......")
    answer = rules.solve(good)
    assert answer.playable
    assert rules.replay(good, answer.proof) == ""
    gap = rules.solve(knight("@...X\n#..##\n....."))
    assert not gap.playable
    gap = rules.solve(knight("@....X\n##.###\n......"))
    assert gap.proof.facts["moves"][:2] == ["right", "leap"]
    answer = rules.solve(knight("@..D.X\n######"))
    assert answer.reason == (
        "the goal at row 0, column 5 cannot be reached: stuck at row 0, column 2; the door at row 0, column 3 stays "
        "closed or is never reached"
    )
    assert rules.needs(Level.from_text("@X", {"@": [], "X": []})) != []


def test_ready_rules_with_own_tiles(tmp_path: Path) -> None:
    text = 'tiles:\n  W: [solid]\n  "^": [hazard]\nbase: platformer\noptions:\n  jumps: {height: 2, reach: 3}\n'
    rules = open_rules(str(write(tmp_path, text)))
    plain = {tile: [] for tile in "-W^"}
    assert rules.grows
    one = Level.from_text("------\n------\n------\n---^--\nWWWWWW", plain)
    answer = rules.solve(one)
    assert answer.playable
    assert rules.replay(one, answer.proof) == ""
    assert rules.solve_part(one).playable
    wall = Level.from_text("------\n---W--\n---W--\n---W--\nWWWWWW", plain)
    assert not rules.solve(wall).playable
    assert open_rules(tmp_path / "rules.yaml", options={"jumps": {"height": 4}}).solve(wall).playable
    assert rules.needs(Level.from_text("-", {"-": []}))[:2] == ["a tile called 'W'", "a tile called '^'"]


def test_all_that_is_wrong_in_a_file_is_told_with_line_and_key(tmp_path: Path) -> None:
    text = """\
name: ""
tiles:
  W: [sollid]
moves:
  - {name: right, step: [0, one]}
  - {name: left, stp: [0, -1], step: [0, -1]}
  - {name: up, step: [-1, 0], needs: {bellow: [solid]}, forbids: {target: [wall]}}
  - {name: knight, step: [-2, 1], forbids: {between: [solid]}}
gravty: true
goals: some
"""
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        load_rules(path)
    words = str(caught.value)
    lines = [problem.source.rpartition(":")[2] for problem in caught.value.problems]
    assert sorted(map(int, lines)) == [1, 3, 5, 6, 7, 7, 8, 9, 10]
    for hint in ("'solid'", "'step'", "'below'", "'gravity'", "moves.3.step", "goals is 'some'"):
        assert hint in words


def test_wrong_options_of_a_base_are_told_with_their_line(tmp_path: Path) -> None:
    path = write(tmp_path, "base: platformer\noptions:\n  jmps: 3\n  enemies: 7\nmoves: []\n")
    with pytest.raises(DataError) as caught:
        load_rules(path)
    assert f"{path}:3: options.jmps" in str(caught.value)
    assert "did you mean 'jumps'" in str(caught.value)
    assert "moves cannot be given with base" in str(caught.value)
    with pytest.raises(DataError, match="did you mean 'platformer'"):
        load_rules(write(tmp_path, "base: platfromer\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "keys and values"),
        ("- 1", "keys and values"),
        ("name: [", "no YAML"),
        ("a: 1\na: 2", "given twice"),
        ("tiles: &a {}\nbase: *a", "aliases"),
        ("[" * 5000, "nested too deeply"),
        ("".join("  " * depth + "a:\n" for depth in range(40)), "nested too deeply"),
        ("name: x", "moves must be a list"),
        ("tiles: 3\nbase: reachability", "tiles must be"),
        ("name: !!python/object:os.system x", "no YAML"),
    ],
)
def test_files_that_are_no_rules(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        load_rules(write(tmp_path, text))
    assert words in str(caught.value)


def test_a_file_that_is_missing_huge_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        load_rules(tmp_path / "none.yaml")
    (tmp_path / "huge.yaml").write_bytes(b" " * (2 << 20))
    with pytest.raises(DataError, match="too large"):
        load_rules(tmp_path / "huge.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no rules"):
        load_rules(tmp_path / "binary.yaml")


def test_a_search_that_outgrows_its_budget_is_undecided() -> None:
    rules = MoveRules(MoveTable(WALKS + TURNS))
    one = Level.from_text("@" + "-" * 50 + "\n" + "-" * 50 + "G", TILES)
    answer = rules.solve(one, Budget(nodes=20))
    assert answer.status == "undecided"
    assert "20 states" in answer.reason


LEVEL = Level.from_text("@-G", TILES)


def test_a_function_may_answer_in_many_ways() -> None:
    answers = {
        "playable": [True, np.bool_(True), (True, "easy"), [(0, 0), (0, 2)], Answer("playable", Proof(((0, 0),)))],
        "unplayable": [False, (False, "no way"), []],
        "undecided": [None, 3, "yes", [1, 2], (True, 5)],
    }
    for status, verdicts in answers.items():
        for verdict in verdicts:
            rules = open_rules(lambda level, verdict=verdict: verdict)
            answer = rules.solve(LEVEL)
            assert answer.status == status, verdict
            assert answer.playable or answer.reason
            if answer.playable:
                assert rules.replay(LEVEL, answer.proof) == ""
    assert open_rules(lambda level: (False, "no way")).solve(LEVEL).reason == "no way"


def test_a_function_that_fails_is_named() -> None:
    def judge(level: Level) -> bool:
        return {}["missing"]

    answer = open_rules(judge).solve(LEVEL)
    assert answer.status == "undecided"
    assert "judge failed: KeyError: 'missing' at test_own.py:" in answer.reason


def test_cells_of_a_function_are_checked() -> None:
    rules = open_rules(lambda level: [(0, 0), (7, 0)])
    assert "row 7, column 0 is outside" in rules.replay(LEVEL, rules.solve(LEVEL).proof)
    picky = open_rules(lambda level: True, options={"check": lambda level, proof: "too short"})
    assert picky.replay(LEVEL, Proof(())) == "too short"
    fickle = iter([True, False])
    rules = open_rules(lambda level: next(fickle))
    assert "asked again" in rules.replay(LEVEL, rules.solve(LEVEL).proof)


def test_a_function_comes_from_a_file_or_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "def wide(level):\n    return level.width > 2, 'too narrow'\nx = 1\n", "judges.py")
    rules = open_rules("judges.py:wide", folder=tmp_path)
    assert rules.name == "judges.py:wide"
    assert rules.solve(LEVEL).playable
    monkeypatch.syspath_prepend(tmp_path)
    assert open_rules("judges:wide").solve(LEVEL.columns(0, 1)).reason == "too narrow"
    for spec, words in {
        "judges.py:wid": "did you mean 'wide'",
        "judges.py:x": "no function",
        "other.py:f": "no file",
        "no.such.module:f": "importing no.such.module failed",
        "judges.py:": "names no function",
    }.items():
        with pytest.raises(RecipeError) as caught:
            open_rules(spec, folder=tmp_path)
        assert words in str(caught.value)
    write(tmp_path, "raise SystemExit(3)\n", "rude.py")
    with pytest.raises(RecipeError, match="SystemExit"):
        open_rules("rude.py:f", folder=tmp_path)


gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium")


class Corridor(gymnasium.Env):
    """Walk right to the end; a step left of the start ends the episode badly."""

    def __init__(self, level_text: str) -> None:
        self.row = level_text.split("\n")[0]
        self.action_space = gymnasium.spaces.Discrete(2)
        self.observation_space = gymnasium.spaces.Discrete(100)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return 0, {"cell": (0, 0), "won": False}

    def step(self, action):
        self.at += 1 if action == 1 else -1
        wall = self.at >= len(self.row) or self.at < 0 or self.row[self.at] == "X"
        won = not wall and self.row[self.at] == "G"
        return self.at, float(won), wall or won, False, {"cell": (0, self.at), "won": won}


def go_right(observation, environment) -> int:
    return 1


def test_an_environment_with_a_policy() -> None:
    options = {"make": lambda level: Corridor(level.to_text()), "success": "won"}
    rules = open_rules("gymnasium:", options={**options, "policy": go_right})
    answer = rules.solve(LEVEL)
    assert answer.proof.cells == ((0, 0), (0, 1), (0, 2))
    assert answer.proof.facts["actions"] == [1, 1]
    assert rules.replay(LEVEL, answer.proof) == ""
    wrong = Proof(answer.proof.cells, facts={**answer.proof.facts, "actions": [1, 0]})
    assert rules.replay(LEVEL, wrong) == "the episode does not succeed within 2 actions"
    assert "no action" in rules.replay(LEVEL, Proof((), facts={**answer.proof.facts, "actions": [7]}))
    answer = rules.solve(Level.from_text("@XG", TILES))
    assert answer.status == "undecided"
    assert answer.reason == "none of 10 episodes succeeded (best return 0)"


def test_a_random_policy_repeats_itself_by_seed() -> None:
    options = {"make": lambda level: Corridor(level.to_text()), "success": "reward", "episodes": 60, "seed": 5}
    first = open_rules("gymnasium:", options=options).solve(LEVEL)
    again = open_rules("gymnasium:", options=options)
    assert first.proof.facts == again.solve(LEVEL).proof.facts
    assert again.replay(LEVEL, first.proof) == ""
    assert again.solve(LEVEL, Budget(nodes=1)).status in ("undecided", "playable")


def test_an_environment_by_its_id() -> None:
    name = "newgameplus-test/Corridor-v0"
    gymnasium.register(name, entry_point=Corridor, disable_env_checker=True)
    rules = open_rules(f"gymnasium:{name}", options={"success": "won", "episodes": 60})
    answer = rules.solve(LEVEL)
    assert answer.playable
    assert rules.replay(LEVEL, answer.proof) == ""
    del gymnasium.registry[name]
    assert "failed" in rules.solve(LEVEL).reason
    failing = open_rules("gymnasium:", options={"make": lambda level: 1 / 0})
    assert "ZeroDivisionError" in failing.solve(LEVEL).reason
    with pytest.raises(RecipeError) as caught:
        open_rules("gymnasium:", options={"episodes": 0, "failure": "maybe"})
    assert len(caught.value.problems) == 3
