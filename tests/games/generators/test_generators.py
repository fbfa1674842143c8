"""What every generator promises: levels that can be played, of the sizes asked for, decided by the seed alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.generators import GENERATORS, draw_style, make_level, make_levels, open_generator
from newgameplus.games.rules import open_rules
from newgameplus.games.rules.contract import Budget
from newgameplus.games.scenes import Level, check_meanings

KINDS = sorted(GENERATORS)


def styled(kind: str, styles: int, each: int, seed: int = 0) -> list[list[Level]]:
    return [make_levels(kind, each, seed * 1000 + number) for number in range(styles)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_tells_its_name_its_rules_and_what_its_tiles_mean(kind: str) -> None:
    generator = open_generator(kind)
    assert kind == generator.NAME
    assert open_rules(generator.RULES).name == generator.RULES
    check_meanings(generator.TILES)
    assert all(len(character) == 1 and " " <= character <= "~" for character in generator.TILES)
    assert all(generator.TILES.values())


@pytest.mark.parametrize("kind", KINDS)
def test_every_level_can_be_played_and_its_proof_holds(kind: str) -> None:
    rules = open_rules(open_generator(kind).RULES)
    for level in (level for game in styled(kind, 10, 3) for level in game):
        assert not rules.needs(level)
        answer = rules.solve(level, Budget(nodes=30_000))
        if kind == "sokoban" and answer.status == "undecided":
            continue  # too hard for a test; solvable by the way it was made, see test_structures
        assert answer.playable, f"{answer.reason}\n{level.to_text()}"
        assert answer.proof is not None
        assert rules.replay(level, answer.proof) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything_and_a_level_does_not_depend_on_how_many_are_made(kind: str) -> None:
    few, many = make_levels(kind, 2, 11), make_levels(kind, 4, 11)
    other = make_levels(kind, 2, 12)
    assert [level.to_text() for level in few] == [level.to_text() for level in many[:2]]
    assert len({level.to_text() for level in (*many, *other)}) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_advances_the_callers_numbers_by_the_same_amount_whatever_happens(kind: str) -> None:
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    make_level(kind, one)
    make_level(kind, other, style=draw_style(kind, np.random.default_rng(9)))
    assert one.random() == other.random()


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_asked_for_and_else_those_of_the_style(kind: str) -> None:
    sizes = open_generator(kind).SIZES
    for number in range(3):
        style = draw_style(kind, np.random.default_rng([5, number]))
        level = make_level(kind, np.random.default_rng(number), style=style)
        assert style["height"][0] <= level.height <= style["height"][1]
        assert style["width"][0] <= level.width <= style["width"][1]
        assert sizes["height"][0] <= level.height <= sizes["height"][1]
        assert sizes["width"][0] <= level.width <= sizes["width"][1]
    for number, share in enumerate((0.0, 0.0, 0.0, 0.1, 0.5, 1.0)):
        height, width = (round(low + share * (high - low)) for low, high in (sizes["height"], sizes["width"]))
        level = make_level(kind, np.random.default_rng(number), height=height, width=width)
        assert level.tiles.shape == (height, width)


@pytest.mark.parametrize("kind", KINDS)
def test_a_style_is_plain_data_that_survives_json_and_may_be_given_in_part(kind: str) -> None:
    style = draw_style(kind, np.random.default_rng(2))
    again = json.loads(json.dumps(style))
    assert again == style
    assert make_levels(kind, 1, 4, style=style)[0].to_text() == make_levels(kind, 1, 4, style=again)[0].to_text()
    size = {"height": style["height"], "width": style["width"]}
    assert make_levels(kind, 1, 4, style=size)[0].height <= style["height"][1]


@pytest.mark.parametrize("kind", KINDS)
def test_levels_of_one_style_are_more_alike_than_levels_of_different_styles(kind: str) -> None:
    games = styled(kind, 8, 4)
    shares = np.array([[_tile_pairs(level) for level in game] for game in games])
    centers = shares.mean(axis=1)
    within = np.abs(shares - centers[:, None]).sum(axis=2).mean()
    between = np.abs(shares - centers.mean(axis=0)).sum(axis=2).mean()
    assert within < 0.85 * between


def _tile_pairs(level: Level) -> np.ndarray:
    count = len(level.tileset)
    pairs = level.tiles[:, :-1] * count + level.tiles[:, 1:]
    return np.bincount(pairs.ravel(), minlength=count * count) / pairs.size


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_tile_of_the_alphabet_is_used_by_some_style(kind: str) -> None:
    used = {tile for game in styled(kind, 80, 1) for tile in np.unique(game[0].tiles).tolist()}
    names = list(open_generator(kind).TILES)
    assert not [names[number] for number in range(len(names)) if number not in used]


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1))
def test_any_seed_gives_a_level_that_its_rules_pass(kind: str, seed: int) -> None:
    level = make_level(kind, np.random.default_rng(seed))
    answer = open_rules(open_generator(kind).RULES).solve(level, Budget(nodes=2_000))
    assert answer.status != "unplayable", level.to_text()


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match="no generator is called 'platfomer'") as caught:
        make_levels("platfomer", 1, 0)
    assert "platformer" in str(caught.value)


@pytest.mark.parametrize(("axis", "size"), [("height", 1), ("width", 0), ("width", 100_000), ("height", -5)])
def test_a_size_that_no_level_can_have_is_refused_with_the_sizes_that_can_be_had(axis: str, size: int) -> None:
    with pytest.raises(DataError, match=rf"{axis} {size}") as caught:
        make_level("cave", np.random.default_rng(0), **{axis: size})
    assert "12" in str(caught.value) or "14" in str(caught.value)
