"""Splits hold whole groups and every class, and what leaks is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError, SplitLeakError
from newgameplus.games.clips import Clip
from newgameplus.games.splits import Split, check_leaks, split_by_group, split_by_names


def whole(split: Split, count: int) -> None:
    assert sorted(np.concatenate(list(split.parts().values())).tolist()) == list(range(count))
    for indices in split.parts().values():
        assert indices.dtype == np.int64
        assert np.all(np.diff(indices) > 0)


def test_shares_are_near_and_classes_in_proportion():
    rng = np.random.default_rng(0)
    groups = [f"episode-{n:02d}" for n in rng.integers(0, 20, 600)]
    targets = rng.choice(5, 600, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    split = split_by_group(groups, targets, test=0.3, validation=0.15, seed=1)
    whole(split, 600)
    assert len(split.test) / 600 == pytest.approx(0.3, abs=0.06)
    assert len(split.validation) / 600 == pytest.approx(0.15, abs=0.06)
    for part, share in ((split.test, 0.3), (split.validation, 0.15)):
        assert np.abs(np.bincount(targets[part], minlength=5) / np.bincount(targets) - share).max() <= 0.1


def test_the_same_seed_gives_the_same_split_and_others_differ():
    groups = [f"g{n % 12}" for n in range(240)]
    targets = np.arange(240) // 60
    splits = [split_by_group(groups, targets, test=0.3, validation=0.2, seed=seed) for seed in (3, 3, *range(10))]
    assert all(np.array_equal(splits[0].parts()[side], splits[1].parts()[side]) for side in splits[0].parts())
    assert len({tuple(split.test) for split in splits}) >= 5


def test_groups_of_one_size_give_the_size_that_was_asked_for():
    groups = [f"g{n // 9}" for n in range(90)]
    for seed in range(10):
        split = split_by_group(groups, np.arange(90) % 3, test=0.3, validation=0.2, seed=seed)
        assert [len(part) for part in split.parts().values()] == [45, 18, 27]
        split = split_by_group(groups, np.arange(90) % 3, test=0.4, validation=0.15, seed=seed)
        assert [len(part) for part in split.parts().values()] == [45, 9, 36]  # not 18: more is left to train on


def test_parts_of_share_zero_are_empty():
    groups = [f"g{n % 4}" for n in range(40)]
    split = split_by_group(groups, np.arange(40) % 3, test=0.0, validation=0.0, seed=0)
    assert [len(part) for part in split.parts().values()] == [40, 0, 0]
    split = split_by_group(groups, np.arange(40) % 3, test=0.0, validation=0.25, seed=0)
    assert [len(part) for part in split.parts().values()] == [30, 10, 0]


def test_thousands_of_groups_are_split_quickly():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 8, 5000)
    split = split_by_group([str(n) for n in range(5000)], targets, test=0.3, validation=0.15, seed=0)
    whole(split, 5000)
    assert np.abs(np.bincount(targets[split.test]) / np.bincount(targets) - 0.3).max() < 0.1


def test_a_class_of_one_group_stays_in_training(capsys):
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
    targets = np.array([0, 1, 0, 1, 0, 1, 2, 2])
    for seed in range(5):
        split = split_by_group(groups, targets, test=0.3, validation=0.2, seed=seed, labels=("x", "y", "rare"))
        assert set(targets[split.train]) == {0, 1, 2}
        assert len(split.test)
        assert len(split.validation)
    assert "no test clips of rare" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("groups", "targets", "messages"),
    [
        (["a"] * 6, [0, 1] * 3, ["one group, 'a'", "column `group`"]),
        (["a", "b"] * 3, [0, 0, 1, 1, 0, 1], ["2 groups", "3 parts", "set validation to 0"]),
        (list("abcdef"), [0] * 6, ["all clips are labelled 'run'", "two classes"]),
        (list("abcdef"), [0, 0, 0, 0, 0, 1], ["class 'jump' has one clip only"]),
        (["a"] * 3, [0, 0, 1], ["one clip only", "one group"]),
        (["a", "a", "b", "b", "c", "c"], [0, 0, 1, 1, 2, 2], ["every group has a class that no other group has"]),
        ([], [], ["there are no clips"]),
    ],
)
def test_what_cannot_be_split(groups, targets, messages):
    with pytest.raises(DataError) as caught:
        split_by_group(
            groups, np.array(targets, dtype=np.int64), test=0.3, validation=0.2, seed=0, labels=("run", "jump", "x")
        )
    for message in messages:
        assert message in str(caught.value)
    assert "remedy" in str(caught.value)


@pytest.mark.parametrize(("test", "validation"), [(-0.1, 0.1), (1.0, 0.0), (0.6, 0.4), (float("nan"), 0.1)])
def test_shares_that_make_no_sense(test, validation):
    with pytest.raises(DataError, match="leave nothing to train on"):
        split_by_group(list("abc"), np.array([0, 1, 0]), test=test, validation=validation, seed=0)


@settings(max_examples=150, deadline=None)
@given(
    members=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=80),
    test=st.floats(0, 0.6),
    validation=st.floats(0, 0.35),
    seed=st.integers(0, 5),
)
def test_no_group_straddles_and_every_clip_is_somewhere_once(members, test, validation, seed):
    groups = [f"g{group}" for group, _ in members]
    targets = np.array([target for _, target in members])
    try:
        split = split_by_group(groups, targets, test=test, validation=validation, seed=seed)
    except DataError as error:
        assert error.problems[0].remedy  # noqa: PT017
        return
    whole(split, len(members))
    sides = [{groups[index] for index in part} for part in split.parts().values()]
    assert sum(map(len, sides)) == len(set(groups))
    assert set(targets[split.train]) == set(targets)
    assert bool(len(split.test)) == (test > 0)
    assert bool(len(split.validation)) == (validation > 0)


def test_split_by_names():
    groups = ["a", "b", "c", "a", "b", "c", "d", "d"]
    targets = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    split = split_by_names(groups, targets, test_groups=["b", "c"], validation_groups=["d"])
    whole(split, 8)
    assert split.test.tolist() == [1, 2, 4, 5]
    assert split.validation.tolist() == [6, 7]
    assert split_by_names(groups, targets, test_groups=["b"]).validation.tolist() == []


def test_names_that_do_not_split():
    groups, targets = ["map-1", "map-2", "map-3"] * 2, np.array([0, 1, 0, 1, 0, 0])
    with pytest.raises(DataError) as caught:
        split_by_names(groups, targets, test_groups=["map-11", "x"], validation_groups=["map-2"])
    assert "did you mean 'map-1'?" in str(caught.value)
    assert "there are: map-1, map-2, map-3" in str(caught.value)
    with pytest.raises(DataError, match="tested on too"):
        split_by_names(groups, targets, test_groups=["map-1"], validation_groups=["map-1"])
    with pytest.raises(DataError, match="no clip to train on"):
        split_by_names(groups, targets, test_groups=["map-1", "map-2", "map-3"])
    with pytest.raises(DataError, match="no training clips of jump"):
        split_by_names(groups, targets, test_groups=["map-1", "map-2"], labels=("run", "jump"))


def clip(name: str, group: str) -> Clip:
    return Clip(Path("/set") / name, "x", 0.0, 1.0, group, f"labels.csv:{ord(name[0])}", name)


CLIPS = [clip("a.mp4", "a"), clip("b.mp4", "b"), clip("c.mp4", "c"), clip("d.mp4", "d")]
INDICES = np.arange(4)


def parts(train, validation, test) -> Split:
    return Split(*(np.array(part, dtype=np.int64) for part in (train, validation, test)))


def test_a_split_without_leaks_comes_back_as_it_is():
    split = parts([0, 1], [2], [3])
    assert check_leaks(CLIPS, ["1", "1", "2", "3"], split) is split


def test_the_same_group_on_two_sides_names_both_files():
    clips = [clip("a.mp4", "g"), clip("b.mp4", "b"), clip("c.mp4", "g"), clip("d.mp4", "d")]
    for duplicates in ("error", "drop"):
        with pytest.raises(SplitLeakError) as caught:
            check_leaks(clips, list("1234"), parts([0, 1], [3], [2]), duplicates=duplicates)
        for text in ("group 'g'", "a.mp4#", "c.mp4#", "train", "test"):
            assert text in str(caught.value)


def test_the_same_frames_on_two_sides_name_both_files():
    with pytest.raises(SplitLeakError) as caught:
        check_leaks(CLIPS, ["1", "2", "3", "2"], parts([0, 1], [2], [3]))
    for text in ("same frames", "b.mp4#", "d.mp4#", "labels.csv:100", "data.duplicates: drop"):
        assert text in str(caught.value)


def test_copies_are_dropped_from_test_and_validation_only(capsys):
    clips = [clip(f"{name}.mp4", name) for name in "abcdefg"]
    digests = ["1", "2", "1", "3", "4", "3", "2"]
    split = check_leaks(clips, digests, parts([0, 1], [2, 3, 4], [5, 6]), duplicates="drop")
    # 2 copies 0 (training), 3 copies 5 (test), 6 copies 1 (training).
    assert [part.tolist() for part in split.parts().values()] == [[0, 1], [4], [5]]
    assert "dropped 2 validation clips" in capsys.readouterr().err


def test_dropping_may_leave_nothing():
    with pytest.raises(DataError, match="all test clips are copies"):
        check_leaks(CLIPS, ["1", "2", "3", "1"], parts([0, 1], [2], [3]), duplicates="drop")
