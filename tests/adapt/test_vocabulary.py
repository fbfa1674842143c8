"""Vocabulary surgery keeps the function, and new tiles start from what is alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_tiles import FACTS, MEASURES, batch_of, logits_of, random_scan, random_wishes, small_model

from newgameplus.adapt.vocabulary import change_vocabulary, find_origins
from newgameplus.games.conditions import FEATURES
from newgameplus.pretrained.tile_model import TileFacts, TileModel
from newgameplus.pretrained.tile_tokens import TileTokens


def level(seed: int = 0, tiles: int = len(FACTS), measures: int = len(MEASURES)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return random_scan(rng, 6, 5, tiles), random_wishes(rng, 6, measures)


def tokens(scan: np.ndarray, wishes: np.ndarray) -> TileTokens:
    return batch_of([scan], [wishes])


def logits(model: TileModel, scan: np.ndarray, wishes: np.ndarray) -> torch.Tensor:
    return logits_of(model, tokens(scan, wishes))


HABITS = tuple(n / 12 for n in range(12))
LIKE_EACH_OTHER = (
    TileFacts("cave:#", ("solid",), HABITS),
    TileFacts("maze:#", ("solid",), HABITS),
    TileFacts("#", ("solid",), HABITS),
    TileFacts("?", ()),
    TileFacts("x", ()),
)


@pytest.mark.parametrize("tiles", [FACTS, LIKE_EACH_OTHER], ids=["plain", "alike"])
def test_the_same_tiles_and_measures_give_the_same_function(tiles: tuple[TileFacts, ...]) -> None:
    model = small_model(tiles=tiles)
    same, origins = change_vocabulary(model, tiles, MEASURES)
    assert [(origin.start, origin.similarity) for origin in origins] == [(tile.name, 1.0) for tile in tiles]
    scan, wishes = level(tiles=len(tiles))
    assert (logits(same, scan, wishes) - logits(model, scan, wishes)).abs().max() <= 1e-6


def test_the_start_is_not_changed() -> None:
    model = small_model()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    changed, _ = change_vocabulary(model, FACTS[:2], ("gaps",))
    with torch.no_grad():
        for parameter in changed.network.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    assert model.tiles == FACTS


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(len(FACTS))), st.permutations(range(len(MEASURES))))
def test_another_order_of_tiles_and_measures_only_moves_the_answers(tiles: list[int], measures: list[int]) -> None:
    model = small_model()
    moved, _ = change_vocabulary(model, [FACTS[n] for n in tiles], [MEASURES[n] for n in measures])
    scan, wishes = level()
    number = np.argsort(tiles).astype(np.int32)  # new number of each old tile
    asked = wishes.reshape(len(wishes), len(MEASURES), FEATURES)[:, measures].reshape(wishes.shape)
    found = logits(moved, number[scan], asked)
    assert torch.allclose(found, logits(model, scan, wishes)[..., tiles], atol=1e-5)


def test_fewer_tiles_keep_the_answers_of_those_that_are_left() -> None:
    model = small_model()
    fewer, _ = change_vocabulary(model, FACTS[:3], MEASURES)
    scan, wishes = level(tiles=3)
    assert torch.allclose(logits(fewer, scan, wishes), logits(model, scan, wishes)[..., :3], atol=1e-6)


def test_a_new_tile_starts_from_the_one_that_means_the_same() -> None:
    model = small_model()
    new = (TileFacts("wall", ("solid",)), TileFacts("bat", ("enemy",)), TileFacts("sky", ("empty",)))
    changed, origins = change_vocabulary(model, new, MEASURES)
    assert [origin.start for origin in origins] == ["#", "e", "."]
    assert all(0.5 <= origin.similarity < 1.0 for origin in origins)
    scan, wishes = level(tiles=3)
    old = np.array([1, 2, 0], np.int32)
    assert torch.allclose(logits(changed, scan, wishes), logits(model, old[scan], wishes)[..., [1, 2, 0]], atol=1e-6)


def test_of_two_that_mean_the_same_the_one_with_the_same_neighbours_is_taken() -> None:
    empty, full = (0.0,) * 12, (1.0,) * 12
    known = (TileFacts("ceiling", ("solid",), empty), TileFacts("ground", ("solid",), full))
    origins = find_origins(known, [TileFacts("floor", ("solid",), (0.9,) * 12), TileFacts("roof", ("solid",), empty)])
    assert [origin.start for origin in origins] == ["ground", "ceiling"]
    named = (TileFacts("cave:#", ("solid",)), TileFacts("cave:x", ("solid",)))
    assert find_origins(named, [TileFacts("x", ("solid",))])[0].start == "cave:x"


def test_kinds_of_keys_are_keys() -> None:
    origins = find_origins([TileFacts("k", ("key",))], [TileFacts("r", ("key:red",))])
    assert origins[0].start == "k"


def test_what_nothing_is_like_starts_from_its_meanings_alone() -> None:
    model = small_model()
    new = (*FACTS, TileFacts("k", ("key",)), TileFacts("K", ("key",)), TileFacts("?", ()))
    changed, origins = change_vocabulary(model, new, MEASURES)
    assert [origin.start for origin in origins] == [*(tile.name for tile in FACTS), "", "", ""]
    assert all(origin.similarity < 0.5 for origin in origins[len(FACTS) :])
    scan, wishes = level()
    found = logits(changed, scan, wishes)
    assert torch.allclose(found[..., :4], logits(model, scan, wishes), atol=1e-6)
    assert torch.allclose(found[..., 4], found[..., 5], atol=1e-6)  # they mean the same and nothing else is known
    assert not torch.allclose(found[..., 4], found[..., 6], atol=1e-3)
    # What is known about keys from pretraining says what they are like.
    network = changed.network
    assert torch.equal(network.own[4], torch.zeros_like(network.own[4]))  # type: ignore[index]
    assert float(network.bias[4].detach()) == float(model.network.bias.detach().min())  # type: ignore[index, operator, union-attr]


def test_a_model_without_tiles_has_nothing_to_start_from() -> None:
    assert [origin.start for origin in find_origins((), FACTS)] == [""] * len(FACTS)


def test_several_that_start_from_one_share_its_probability() -> None:
    model = small_model()
    new = (*FACTS[:1], TileFacts("brick", ("solid",)), TileFacts("stone", ("solid",)), TileFacts("wood", ("solid",)))
    changed, origins = change_vocabulary(model, (*new, *FACTS[2:]), MEASURES)
    assert [origin.start for origin in origins] == [".", "#", "#", "#", "e", "g"]
    scan, wishes = level(tiles=1)
    before, after = logits(model, scan, wishes).softmax(-1), logits(changed, scan, wishes).softmax(-1)
    assert torch.allclose(after[..., 1:4].sum(-1), before[..., 1], atol=1e-6)
    assert torch.allclose(after[..., [0, 4, 5]], before[..., [0, 2, 3]], atol=1e-6)


def test_new_measures_are_silent_until_they_are_learnt() -> None:
    model = small_model()
    measures = ("coins", *MEASURES, "tile:#")
    changed, _ = change_vocabulary(model, FACTS, measures)
    scan, wishes = level()
    rng = np.random.default_rng(3)
    new = rng.normal(size=(len(wishes), FEATURES)).astype(np.float32)
    for one, other in ((new, new), (np.zeros_like(new), new)):
        asked = np.concatenate([one, wishes, other], axis=1)
        assert torch.allclose(logits(changed, scan, asked), logits(model, scan, wishes), atol=1e-5)


def test_a_measure_that_is_left_out_is_as_if_never_asked() -> None:
    model = small_model()
    changed, _ = change_vocabulary(model, FACTS, ("density",))
    scan, wishes = level()
    asked = wishes.reshape(len(wishes), len(MEASURES), FEATURES)
    silent = np.zeros_like(asked)
    silent[:, 2] = asked[:, 2]
    expected = logits(model, scan, silent.reshape(wishes.shape))
    assert torch.allclose(logits(changed, scan, asked[:, 2]), expected, atol=1e-5)


def test_nothing_at_all_can_be_asked_for() -> None:
    changed, _ = change_vocabulary(small_model(), FACTS, ())
    scan, wishes = level()
    expected = logits(small_model(), scan, np.zeros_like(wishes))
    assert torch.allclose(logits(changed, scan, wishes[:, :0]), expected, atol=1e-6)


def test_origins_are_plain_data() -> None:
    origins = find_origins(FACTS, [TileFacts("wall", ("solid", "breakable"))])
    said = json.loads(json.dumps(origins[0].as_dict()))
    assert said == {
        "name": "wall",
        "meanings": ["solid", "breakable"],
        "from": "" if origins[0].similarity < 0.5 else "#",
        "similarity": round(origins[0].similarity, 3),
    }
