"""Guesses are right where names, characters or places tell, and silent where nothing does."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from newgameplus.games.formats import read_documents
from newgameplus.games.meanings import guess_meanings, guess_rules
from newgameplus.games.scenes import Level, Scene, SceneObject, Tile, Tileset, check_meanings
from newgameplus.games.stacking import stack
from newgameplus.games.tile_words import ALPHABETS, EITHER, WORDS, meanings_of_name, meanings_of_words

DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[2] / "../shared/data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the measuring data (NGP_DATA, or ../shared/data) are not here"
)


def from_text(*texts: str, **names: str) -> list[Scene]:
    """Make scenes of text; ``names`` call characters by longer names."""
    scenes = []
    for number, text in enumerate(texts):
        rows = text.strip("\n").split("\n")
        characters = list(dict.fromkeys(text.replace("\n", "")))
        tileset = Tileset(tuple(Tile(names.get(one, one)) for one in characters))
        grid = np.array([[characters.index(one) for one in row] for row in rows], np.int32)
        scenes.append(Scene(f"s{number}", grid[None], ("tiles",), tileset))
    return scenes


@pytest.mark.parametrize(
    ("name", "meanings"),
    [
        ("Walls", {"solid"}),
        ("door_red", {"door:red"}),
        ("BlueKey", {"key:blue"}),
        ("key door", {"door"}),
        ("door key", {"key"}),
        ("PlayerStart", {"start"}),
        ("enemy_spawn", {"spawner"}),
        ("enemySpawner2", {"spawner"}),
        ("LevelExit", {"goal"}),
        ("spikes", {"hazard"}),
        ("Ladder", {"climbable"}),
        ("deep-water", {"liquid"}),
        ("lava", {"liquid", "hazard"}),
        ("question block", {"solid"}),
        ("one_way_left", {"one-way-left"}),
        ("OneWayPlatform", {"one-way"}),
        ("solid water", {"solid", "liquid"}),
        ("non_solid", {"empty"}),
        ("treasure-chest", {"collectable"}),
        ("warp pipe", {"pipe", "solid"}),
        ("crates", {"box"}),
        ("zqx", set()),
        ("", set()),
    ],
)
def test_names_say_what_tiles_are(name: str, meanings: set[str]) -> None:
    assert set(meanings_of_name(name)) == meanings


def test_ground_depends_on_where_one_looks_from() -> None:
    assert meanings_of_name("ground") == ()
    assert meanings_of_name("ground", platformer=True) == ("solid",)
    assert meanings_of_name("ground", platformer=False) == ("empty",)


def test_every_word_and_character_has_meanings_that_exist() -> None:
    check_meanings(WORDS)
    check_meanings({word: meanings for word, both in EITHER.items() for meanings in both})
    for name, table in ALPHABETS.items():
        check_meanings(table, source=name)


@given(st.text(max_size=40))
def test_no_name_breaks_the_guess(name: str) -> None:
    check_meanings({name: meanings_of_name(name)})
    check_meanings({name: meanings_of_words([name, "hazard"])})


def test_characters_are_read_as_their_collection_uses_them() -> None:
    mario = guess_meanings(from_text("----------\n--?S---E--\n-<>----o--\nX[]XXXXXXX"))
    assert mario["X"].meanings == ("solid",)
    assert mario["E"].meanings == ("enemy",)
    assert "side-scroller" in mario["-"].reason
    zelda = guess_meanings(from_text("-WWW-\nWFFFW\nWFMFW\nDFSFW\nWWWW-"))
    assert zelda["-"].meanings == ("void",)
    assert zelda["S"].meanings == ("goal",)
    assert zelda["D"].meanings == ("door",)


def test_places_tell_when_names_do_not() -> None:
    sky, mud = "." * 40, "%" * 40
    texts = [f"{sky}\n{sky}\n{sky}\nP{'.' * 38}Q\n{mud}"] * 3
    names = {".": "t1", "%": "t2", "P": "t3", "Q": "t4"}
    side = guess_meanings(from_text(*texts, **names))
    assert [side[f"t{number}"].meanings for number in (1, 2, 3, 4)] == [("empty",), ("solid",), ("start",), ("goal",)]
    above = guess_meanings(from_text("%%%%%%\n%....%\n%....%\n%%%%%%", **{".": "t1", "%": "t2"}))
    assert [above["t1"].meanings, above["t2"].meanings] == [("empty",), ("solid",)]
    unknown = guess_meanings(from_text("..a.\n....\n....", **{".": "t1", "a": "t2"}))
    assert unknown["t2"].meanings == ()
    assert "not guessed" in unknown["t2"].reason


def test_layers_objects_and_own_meanings_tell() -> None:
    tileset = Tileset((Tile("set#1"), Tile("set#2", frozenset({"hazard"})), Tile("set#3")))
    layers = np.array([[[0, 2], [2, 2]], [[-1, 1], [0, -1]]], np.int32)
    layers[0, 0, 0] = 2
    scene = Scene("a", layers, ("Back", "Walls"), tileset, (SceneObject("Mob", 0, 0), SceneObject("Zz", 0, 0)))
    guesses = guess_meanings([scene])
    assert guesses["set#1"].meanings == ("solid",)
    assert "'Walls'" in guesses["set#1"].reason
    assert guesses["set#2"].meanings == ("hazard",)
    assert guesses["@Mob"].meanings == ("enemy",)
    assert guesses["@Zz"].meanings == ()


def test_tiles_alone_can_be_guessed() -> None:
    guesses = guess_meanings([Tile("ground"), Tile("spike")], "platformer")
    assert {name: guess.meanings for name, guess in guesses.items()} == {"ground": ("solid",), "spike": ("hazard",)}


def test_rules_follow_from_meanings() -> None:
    words = {"#": ["solid"], ".": ["empty"], "$": ["box"], "o": ["goal"], "@": ["start"], "k": ["key"], "D": ["door"]}
    box = Level.from_text("#####\n#@$o#\n#####", words)
    assert guess_rules([box]).rules == "sokoban"
    keys = Level.from_text("#######\n#@....#\n#..k..#\n#.....#\n###D###\n#..o..#\n#######", {**words})
    assert guess_rules([keys]).rules == "top-down"
    side = Level.from_text("\n".join(["." * 60] * 9 + ["." * 20 + "@" + "." * 39, "#" * 60]), words)
    assert guess_rules([side]).rules == "platformer"
    cave = Level.from_text("####\n#..#\n#..#\n####", words)
    assert guess_rules([cave]).rules == "reachability"
    assert guess_rules([]).rules == "reachability"


@needs_data
@pytest.mark.parametrize(
    ("folder", "rules", "right"),
    [
        (
            "scenes/mario/smb2j",
            "platformer",
            {"X": "solid", "-": "empty", "E": "enemy", "o": "collectable", "<": "pipe"},
        ),
        ("scenes/mario/rivals/original", "platformer", {"M": "start", "F": "goal", "g": "enemy", "%": "one-way"}),
        ("scenes/zelda", "top-down", {"W": "solid", "F": "empty", "-": "void", "D": "door", "M": "enemy"}),
        ("scenes/sokoban/microban", "sokoban", {"box": "box", "wall": "solid"}),
        ("maps/ldtk/Typical_2D_platformer_example.ldtk", "platformer", {"Collisions:dirt": "solid", "@Mob": "enemy"}),
        ("maps/ldtk/Typical_TopDown_example.ldtk", "top-down", {"Collisions:walls": "solid", "@Player": "start"}),
    ],
)
def test_real_maps_are_guessed(folder: str, rules: str, right: dict[str, str]) -> None:
    documents, _ = read_documents(DATA / folder)
    scenes = [scene for document in documents for scene in document.scenes]
    scenes = random.Random(0).sample(scenes, min(len(scenes), 20))
    guesses = guess_meanings(scenes)
    assert {name: meaning in guesses[name].meanings for name, meaning in right.items()} == dict.fromkeys(right, True)
    _, levels = stack(scenes, meanings={name: guess.meanings for name, guess in guesses.items()})
    assert guess_rules(levels).rules == rules
