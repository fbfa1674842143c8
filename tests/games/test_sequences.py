"""Reading numbers over time: formats, labels, and every mistake named with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.sequence_files import CHANNELS, KINDS, write_csv, write_folder

from newgameplus.errors import DataError
from newgameplus.games.fixed_sequences import fit_steps
from newgameplus.games.sequence_formats import read_sequence_file
from newgameplus.games.sequences import data_kinds, find_sequences, load_sequences


def test_a_label_file_and_folders_of_classes_give_the_same(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", 3, seed=0)
    for kind in KINDS:
        (tmp_path / "b" / kind).mkdir(parents=True)
        for file in (folder / "data").glob(f"{kind}*.csv"):
            (tmp_path / "b" / kind / file.name).write_bytes(file.read_bytes())
    one, other = (load_sequences(find_sequences(place)) for place in (folder, tmp_path / "b"))
    assert one.channels == other.channels == CHANNELS
    assert sorted(one.digests) == sorted(other.digests)
    assert one.clip_set.labels == other.clip_set.labels == KINDS
    assert data_kinds(folder) == data_kinds(tmp_path / "b") == {"sequence"}


def test_arrays_and_csv_hold_the_same_numbers(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(9, 3)).round(3)
    write_csv(tmp_path / "a.csv", values)
    np.save(tmp_path / "b.npy", values, allow_pickle=False)
    np.savez(tmp_path / "c.npz", **dict(zip(CHANNELS, values.T, strict=True)))
    np.savez(tmp_path / "d.npz", values=values, channels=np.array(CHANNELS))
    tables = [read_sequence_file(tmp_path / name) for name in ("a.csv", "b.npy", "c.npz", "d.npz")]
    for table in tables:
        np.testing.assert_allclose(table.values, values, rtol=1e-5)
    assert [table.channels for table in tables] == [CHANNELS, ("c0", "c1", "c2"), CHANNELS, CHANNELS]


def test_all_mistakes_are_told_at_once_with_file_line_and_column(tmp_path: Path) -> None:
    write_folder(tmp_path, 3, seed=0)
    data = tmp_path / "data"
    (data / "circles-0.csv").write_text("x,y,speed\n1,2,3\n4,hello,6\n7,8\n")
    (data / "circles-1.csv").write_text("x,y,speed\n1,nan,3\n4,5,inf\n")
    (data / "circles-2.csv").write_text("")
    write_csv(data / "goes_left-0.csv", np.ones((4, 3)), ("x", "y", "ammo"))
    with pytest.raises(DataError) as caught:
        load_sequences(find_sequences(tmp_path))
    told = "\n".join(str(problem) for problem in caught.value.problems)
    for part in (
        "column 'y' holds 'hello', not a number",
        "circles-0.csv:3",
        "2 cells under 3 columns",
        "circles-0.csv:4",
        "column 'y' is nan",
        "column 'speed' is inf",
        "circles-1.csv:3",
        "the file is empty",
        "lacks speed and also has ammo",
    ):
        assert part in told, part
    assert all(problem.source and problem.remedy for problem in caught.value.problems)
    kept = load_sequences(find_sequences(tmp_path), skip_bad=True)
    assert len(kept) == 5
    assert len(kept.clip_set.left_out) >= 6


def test_pickles_are_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        read_sequence_file(tmp_path / "a.npy")


def test_channels_are_chosen_by_name_and_unknown_ones_are_named(tmp_path: Path) -> None:
    found = find_sequences(write_folder(tmp_path, 2, seed=0))
    assert load_sequences(found, channels=("s*", "x")).channels == ("x", "speed")
    with pytest.raises(DataError, match="no channel is called 'sped'") as caught:
        load_sequences(found, channels=("sped",))
    assert "'speed'" in caught.value.problems[0].remedy


def test_spans_are_seconds_at_the_rate_of_the_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", np.arange(30.0).reshape(10, 3))
    (tmp_path / "labels.csv").write_text("path,label,start,end\na.csv,one,0,0.4\na.csv,two,0.4,1\na.csv,two,3,4\n")
    with pytest.raises(DataError, match="no rows in the span"):
        load_sequences(find_sequences(tmp_path, frame_rate=10))
    kept = load_sequences(find_sequences(tmp_path, frame_rate=10), skip_bad=True)
    assert [len(values) for values in kept.values] == [4, 6]


@pytest.mark.parametrize("length", [1, 5, 8, 21])
def test_any_length_becomes_the_wanted_one_with_a_mask(length: int) -> None:
    values = np.linspace(0, 1, length, dtype=np.float32)[:, None]
    fixed = fit_steps(values, 8)
    assert fixed.shape == (8, 2)
    there = min(length, 8)
    assert fixed[:there, 1].all()
    assert not fixed[there:].any()
    assert fixed[0, 0] == values[0, 0]
    assert fixed[there - 1, 0] == pytest.approx(values[-1, 0])
