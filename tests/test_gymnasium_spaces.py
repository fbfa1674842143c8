import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import GameError
from newgameplus.gymnasium_actions import describe_actions
from newgameplus.gymnasium_spaces import describe_observations, words_to_tokens

SEEN = [
    # space, kind, shape, type, low, high, sizes
    (spaces.Box(-1, 2, (3,), np.float64), "vector", (3,), "float32", -1.0, 2.0, ()),
    (spaces.Box(-np.inf, np.inf, (3,)), "vector", (3,), "float32", None, None, ()),
    (spaces.Box(0, 9, (2, 5)), "vector", (10,), "float32", 0.0, 9.0, ()),
    (spaces.Box(0, 9, ()), "vector", (1,), "float32", 0.0, 9.0, ()),
    (spaces.Box(0, 255, (84, 80, 3), np.uint8), "image", (3, 84, 80), "uint8", 0.0, 255.0, ()),
    (spaces.Box(0, 255, (4, 84, 84), np.uint8), "image", (4, 84, 84), "uint8", 0.0, 255.0, ()),
    (spaces.Box(0, 255, (84, 80), np.uint8), "image", (1, 84, 80), "uint8", 0.0, 255.0, ()),
    (spaces.Box(0, 255, (2, 30, 20, 3), np.uint8), "image", (6, 30, 20), "uint8", 0.0, 255.0, ()),
    (spaces.Box(0, 255, (2, 3, 30, 20), np.uint8), "image", (6, 30, 20), "uint8", 0.0, 255.0, ()),
    (spaces.Box(0, 1, (10, 10, 4), bool), "image", (4, 10, 10), "uint8", 0.0, 1.0, ()),
    (spaces.Box(0, 1, (10, 10, 4), np.float32), "image", (4, 10, 10), "float32", 0.0, 1.0, ()),
    (spaces.Box(0, 10, (8, 9, 2), np.uint8), "grid", (2, 8, 9), "uint8", None, None, (11, 11)),
    (spaces.MultiDiscrete(np.full((8, 9), 7)), "grid", (1, 8, 9), "uint8", None, None, (7,)),
    (spaces.Discrete(5, start=-2), "choice", (1,), "int64", None, None, (5,)),
    (spaces.MultiDiscrete([3, 4]), "choice", (2,), "int64", None, None, (3, 4)),
    (spaces.MultiBinary(3), "choice", (3,), "int64", None, None, (2, 2, 2)),
    (spaces.MultiBinary((6, 7)), "image", (1, 6, 7), "uint8", 0.0, 1.0, ()),
    (spaces.Text(30), "tokens", (30,), "int64", None, None, (512,)),
]


@pytest.mark.parametrize(("space", "kind", "shape", "dtype", "low", "high", "sizes"), SEEN)
def test_what_is_seen_is_described(space, kind, shape, dtype, low, high, sizes):
    (part,) = describe_observations(space).spec.parts
    assert part.name == "observation"
    assert (part.kind, part.shape, part.dtype) == (kind, shape, dtype)
    assert (part.low, part.high, part.sizes) == (low, high, sizes)


@pytest.mark.parametrize("space", [row[0] for row in SEEN if not isinstance(row[0], spaces.Text)])
def test_what_is_seen_comes_back_as_it_was(space):
    translator = describe_observations(space)
    space.seed(3)
    raws = [space.sample() for _ in range(4)]
    seen = translator.encode(raws)
    for row, raw in enumerate(raws):
        back = translator.decode(seen, row)
        assert np.allclose(np.asarray(back, np.float64), np.asarray(raw, np.float64), rtol=1e-6)
    stacked = translator.encode_batch(np.stack([np.asarray(raw) for raw in raws]))
    assert all(np.array_equal(seen[name], stacked[name]) for name in seen)


def test_channels_come_first():
    translator = describe_observations(spaces.Box(0, 255, (2, 4, 3), np.uint8))
    assert translator.spec.parts[0].shape == (2, 4, 3)
    translator = describe_observations(spaces.Box(0, 255, (5, 4, 3), np.uint8))
    raw = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
    assert np.array_equal(translator.encode([raw])["observation"][0], raw.transpose(2, 0, 1))


def test_dictionaries_and_tuples_are_parts():
    space = spaces.Dict({"a": spaces.Dict({"x": spaces.Discrete(3)}), "b": spaces.Tuple((spaces.Box(0, 1, (2,)),))})
    translator = describe_observations(space)
    assert translator.spec.names == ("a.x", "b.0")
    space.seed(0)
    raw = space.sample()
    back = translator.decode(translator.encode([raw]), 0)
    assert back["a"]["x"] == raw["a"]["x"]
    assert np.array_equal(back["b"][0], raw["b"][0])


def test_what_never_changes_is_left_out():
    space = spaces.Dict({"one": spaces.Discrete(1), "none": spaces.Box(0, 1, (0,)), "x": spaces.Discrete(2)})
    assert describe_observations(space).spec.names == ("x",)
    with pytest.raises(GameError, match="nothing to see"):
        describe_observations(spaces.Discrete(1))


@pytest.mark.parametrize(
    "space",
    [spaces.Sequence(spaces.Discrete(3)), spaces.Box(0, 1, (2, 2, 2, 2, 2)), spaces.OneOf((spaces.Discrete(2),))],
)
def test_what_cannot_be_seen_is_told(space):
    with pytest.raises(GameError) as caught:
        describe_observations(space)
    assert caught.value.problems[0].remedy


@pytest.mark.parametrize(
    ("space", "raw", "words"),
    [
        (spaces.Box(0, 1, (3,)), np.zeros(2, np.float32), r"shape \(2,\)"),
        (spaces.Box(0, 1, (3,)), np.array([0, np.inf, 0], np.float32), "holds inf"),
        (spaces.Box(0, 255, (9, 9, 3), np.uint8), np.zeros((9, 9, 3)), "promised as uint8 and is float64"),
        (spaces.Discrete(3), 3, "holds 3"),
        (spaces.Discrete(3), 1.5, "one whole number"),
        (spaces.Discrete(3, start=1), 0, "holds -1"),
        (spaces.MultiBinary(2), np.array([0, 2]), "holds 2"),
        (spaces.Box(0, 10, (9, 9, 3), np.uint8), np.full((9, 9, 3), 11, np.uint8), "channel 0"),
        (spaces.Text(5), 5, "promises a text"),
        (spaces.Dict({"a": spaces.Discrete(2)}), {"b": 1}, "has no 'a'"),
    ],
)
def test_what_is_not_as_promised_is_refused(space, raw, words):
    with pytest.raises(GameError, match=words) as caught:
        describe_observations(space).encode([raw])
    assert caught.value.problems[0].remedy


def test_names_are_taken_from_the_space_or_given():
    space = spaces.Box(0, 1, (2,))
    assert describe_observations(space, names=["hp", "mana"]).spec.parts[0].features == ("hp", "mana")
    space.names = ["a", "b"]
    assert describe_observations(space).spec.parts[0].features == ("a", "b")
    with pytest.raises(GameError, match="2 features"):
        describe_observations(space, names=["hp", "hp"])


ACTS = [
    (spaces.Discrete(4), "discrete", (4,)),
    (spaces.Discrete(4, start=3), "discrete", (4,)),
    (spaces.MultiDiscrete([2, 3]), "multi-discrete", (2, 3)),
    (spaces.MultiDiscrete([2, 3], start=[1, -1]), "multi-discrete", (2, 3)),
    (spaces.MultiDiscrete([[2, 3], [4, 5]]), "multi-discrete", (2, 3, 4, 5)),
    (spaces.MultiBinary(3), "binary", (3,)),
    (spaces.Box(-1, 1, (2,)), "continuous", (2,)),
    (spaces.Box(-1, 1, (2, 2), np.float64), "continuous", (4,)),
    (spaces.Tuple((spaces.Discrete(2), spaces.MultiDiscrete([3, 4]))), "multi-discrete", (2, 3, 4)),
    (spaces.Dict({"a": spaces.Box(0, 1, (1,)), "b": spaces.Box(0, 2, (2,))}), "continuous", (3,)),
    (spaces.Dict({"a": spaces.Discrete(3)}), "discrete", (3,)),
]


@pytest.mark.parametrize(("space", "kind", "sizes"), ACTS)
def test_actions_are_described_and_come_back(space, kind, sizes):
    translator = describe_actions(space)
    assert (translator.spec.kind, translator.spec.sizes) == (kind, sizes)
    space.seed(1)
    raws = [space.sample() for _ in range(5)]
    ours = translator.encode(raws)
    assert ours.shape == (5, *translator.spec.shape)
    assert ours.dtype == translator.spec.dtype
    back = translator.decode(translator.check(ours, 5))
    assert all(space.contains(one) for one in back)
    assert np.array_equal(translator.encode(back), ours)
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        assert all(np.allclose(one, raw, atol=1e-6) for one, raw in zip(back, raws, strict=True))


@pytest.mark.parametrize("space", [spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 1, (1,))}), spaces.Text(3)])
def test_spaces_that_nobody_can_act_in_are_told(space):
    with pytest.raises(GameError, match="no policy can act"):
        describe_actions(space)


def test_bounds_are_kept_but_rounding_is_forgiven():
    translator = describe_actions(spaces.Box(-1, 1, (1,)))
    assert translator.check(np.array([[1.00001]]), 1)[0, 0] == 1.0
    with pytest.raises(GameError, match="outside"):
        translator.check(np.array([[1.1]]), 1)


class TestWords:
    def test_tokens_are_the_same_in_every_process(self):
        program = "from newgameplus.gymnasium_spaces import words_to_tokens as w; print(*w('open the red door', 6))"
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        assert [int(word) for word in told.split()] == words_to_tokens("open the red door", 6).tolist()

    def test_they_fill_up_with_zero_and_are_cut(self):
        tokens = words_to_tokens("go to the red ball", 3)
        assert (tokens > 0).all()
        assert words_to_tokens("go", 3).tolist()[1:] == [0, 0]
        assert words_to_tokens("Go", 1) == words_to_tokens("go", 1)

    @settings(max_examples=50)
    @given(st.text(max_size=60))
    def test_any_text_gives_tokens_of_the_vocabulary(self, text):
        tokens = words_to_tokens(text, 8)
        assert tokens.shape == (8,)
        assert tokens.min() >= 0
        assert tokens.max() < 512
