"""Finding clips and labels, and telling everything that is wrong with them at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.clips import Clip, load_clips


def label(folder: Path, *lines: str, name: str = "labels.csv", videos: tuple[str, ...] = ("a.mp4", "b.mp4")) -> Path:
    """Write a label file and the files it may name (which are not opened before they are decoded)."""
    for video in videos:
        (folder / video).parent.mkdir(parents=True, exist_ok=True)
        (folder / video).write_bytes(b"video")
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def problems_of(folder: Path, **options: object) -> dict[str, str]:
    """Return source -> message and remedy of everything that load_clips finds wrong."""
    with pytest.raises(DataError) as caught:
        load_clips(folder, **options)  # type: ignore[arg-type]
    return {problem.source: f"{problem.message} | {problem.remedy}" for problem in caught.value.problems}


def test_a_label_file(tmp_path):
    folder = label(tmp_path, "path,label,start,end,group", "a.mp4,run,0.5,1.25,match 1", "b.mp4,jump,,,")
    clips = load_clips(folder)
    assert clips.root == tmp_path
    assert clips.labels == ("jump", "run")
    assert clips.clips == (
        Clip(tmp_path / "a.mp4", "run", 0.5, 1.25, "match 1", "labels.csv:2", "a.mp4"),
        Clip(tmp_path / "b.mp4", "jump", 0.0, None, "b", "labels.csv:3", "b.mp4"),
    )
    assert [clip.identity for clip in clips.clips] == ["a.mp4#0.500-1.250", "b.mp4"]
    assert clips.groups == ("match 1", "b")
    assert load_clips(folder / "labels.csv") == clips
    assert load_clips(folder, labels="labels.csv") == clips


def test_json_lines_say_the_same(tmp_path):
    lines = [
        {"path": "a.mp4", "label": "run", "start": 0.5, "end": 1.25, "group": "match 1"},
        {"path": "b.mp4", "label": "jump", "end": None},
    ]
    as_json = label(tmp_path / "json", *map(json.dumps, lines), name="labels.jsonl")
    as_csv = label(tmp_path / "csv", "path,label,start,end,group", "a.mp4,run,0.5,1.25,match 1", "b.mp4,jump,,,")
    found, wanted = load_clips(as_json), load_clips(as_csv)
    assert [(c.identity, c.label, c.group) for c in found.clips] == [
        (c.identity, c.label, c.group) for c in wanted.clips
    ]
    assert found.clips[1].origin == "labels.jsonl:2"


def test_spreadsheets_write_marks_blanks_and_odd_line_ends(tmp_path):
    label(tmp_path)
    text = '\ufeffPath , Label\r\n a.mp4, "run"\r\n\r\n"b.mp4"," jump"\r\n'
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-8"))
    clips = load_clips(tmp_path).clips
    assert [(clip.name, clip.label, clip.origin) for clip in clips] == [
        ("a.mp4", '"run"', "labels.csv:2"),
        ("b.mp4", "jump", "labels.csv:4"),
    ]


def test_paths_with_blanks_unicode_and_folders(tmp_path):
    videos = ("mein Spiel/Übung 1.mp4", "日本/a, b.mp4")
    folder = label(tmp_path, "path,label", "mein Spiel/Übung 1.mp4,run", '"日本/a, b.mp4",jump', videos=videos)
    clips = load_clips(folder).clips
    assert [clip.name for clip in clips] == list(videos)
    assert [clip.group for clip in clips] == ["mein Spiel/Übung 1", "日本/a, b"]


def test_paths_may_leave_the_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.mp4").write_bytes(b"video")
    folder = label(tmp_path / "set", "path,label", "../elsewhere/c.mp4,run", f"{tmp_path / 'set' / 'a.mp4'},jump")
    assert [clip.name for clip in load_clips(folder).clips] == ["../elsewhere/c.mp4", "a.mp4"]


def test_everything_wrong_with_lines_comes_at_once(tmp_path):
    folder = label(
        tmp_path,
        "path,label,start,end,group",
        "a.mp4,run,0,1,",
        "c.mp4,run,0,1,",  # 3: no such file
        "a.mp4,,2,3,",  # 4: no label
        ",run,2,3,",  # 5: no path
        "a.mp4,run,4,3,",  # 6: start after end
        "a.mp4,run,-1,3,",  # 7: negative
        "a.mp4,run,one,3,",  # 8: not a number
        "a.mp4,run,nan,3,",  # 9
        "a.mp4,run,0,inf,",  # 10
        "a.mp4,run,5,5,",  # 11: nothing in it
        "a.mp4,run,1,2,x,y",  # 12: too many cells
        "nowhere/a.mp4,run,1,2,",  # 13: no such folder
    )
    found = problems_of(folder)
    assert list(found) == [f"labels.csv:{line}" for line in range(3, 14)]
    assert "no such file: c.mp4" in found["labels.csv:3"]
    assert "did you mean 'b.mp4'?" in found["labels.csv:3"]
    assert "label is missing" in found["labels.csv:4"]
    assert "path is missing" in found["labels.csv:5"]
    assert "start 4 is not before end 3" in found["labels.csv:6"]
    assert "start is -1" in found["labels.csv:7"]
    assert "'one'" in found["labels.csv:8"]
    assert "start is nan" in found["labels.csv:9"]
    assert "end is inf" in found["labels.csv:10"]
    assert "start 5 is not before end 5" in found["labels.csv:11"]
    assert "6 cells under 5 columns" in found["labels.csv:12"]
    assert "no folder" in found["labels.csv:13"]

    kept = load_clips(folder, skip_bad=True)
    assert [clip.identity for clip in kept.clips] == ["a.mp4#0.000-1.000"]
    assert {problem.source for problem in kept.left_out} == set(found)


def test_a_missing_file_is_told_once_with_its_lines_counted(tmp_path):
    lines = [f"gone.mp4,run,{n},{n + 1}" for n in range(50)]
    folder = label(tmp_path, "path,label,start,end", "a.mp4,run,0,1", *lines)
    found = problems_of(folder)
    assert list(found) == ["labels.csv:3"]
    assert "49 more lines" in found["labels.csv:3"]


def test_long_lists_are_cut(tmp_path):
    folder = label(tmp_path, "path,label,start,end", *[f"a.mp4,run,{n},{n}" for n in range(100)])
    with pytest.raises(DataError) as caught:
        load_clips(folder)
    assert len(caught.value.problems) == 21
    assert "80 more" in str(caught.value)
    assert "100 problems" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("path,lable", "did you mean 'label'?"),
        ("path,start", "column 'label' is missing"),
        ("file,label", "unknown column 'file'"),
        ("path,label,label", "twice"),
        ("path;label", "not separated by commas"),
        ("path\tlabel", "not separated by commas"),
        ("a.mp4,run", "unknown column 'a.mp4'"),
    ],
)
def test_wrong_columns(header, message, tmp_path):
    folder = label(tmp_path, header, "a.mp4,run")
    with pytest.raises(DataError) as caught:
        load_clips(folder, skip_bad=True)
    assert message in str(caught.value)
    assert "labels.csv:1" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"path,label\n", "no lines"),
        (b"path,label\n\xff\xfe,run\n", "not UTF-8"),
        (b'path,label\n"a.mp4,run\n', "not CSV"),
        (b"path,label\na.mp4\0,run\n", "zero character"),
    ],
)
def test_label_files_that_are_none(content, message, tmp_path):
    label(tmp_path)
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_clips(tmp_path)
    assert "labels.csv" in str(caught.value)
    assert "remedy" in str(caught.value)


def test_wrong_json_lines(tmp_path):
    folder = label(
        tmp_path,
        '{"path": "a.mp4", "label": "run"',
        '["a.mp4", "run"]',
        '{"path": "a.mp4", "label": true}',
        '{"path": 3, "label": "run"}',
        '{"path": "a.mp4", "label": "run", "start": true}',
        '{"path": "a.mp4", "label": "run", "start": [1]}',
        '{"path": "a.mp4", "label": 7, "start": "1.5", "end": 2}',
        name="labels.jsonl",
    )
    found = problems_of(folder)
    assert list(found) == [f"labels.jsonl:{line}" for line in range(1, 7)]
    kept = load_clips(folder, skip_bad=True)
    assert [(clip.label, clip.start, clip.end) for clip in kept.clips] == [("7", 1.5, 2.0)]
    (folder / "labels.jsonl").write_text('{"path": "a.mp4", "labl": "run"}\n')
    assert "did you mean 'label'?" in problems_of(folder)["labels.jsonl:1"]


def test_labels_that_differ_only_by_case_or_blanks(tmp_path):
    lines = ["a.mp4,Attack,0,1", "a.mp4,attack ,1,2", "a.mp4,At  tack,2,3", "a.mp4,run,3,4", "b.mp4,At tack,0,1"]
    found = problems_of(label(tmp_path, "path,label,start,end", *lines), skip_bad=True)
    assert list(found) == ["labels.csv:3", "labels.csv:6"]
    assert "label 'attack ' differs from 'Attack' in line 2" in found["labels.csv:3"]
    assert "write both the same way" in found["labels.csv:3"]
    assert "'At tack' differs from 'At  tack' in line 4" in found["labels.csv:6"]


def test_blanks_around_a_label_that_is_always_written_so_are_taken_off(tmp_path):
    folder = label(tmp_path, "path,label", "a.mp4, run", "b.mp4, run")
    assert load_clips(folder).labels == ("run",)


def test_overlapping_spans_with_different_labels(tmp_path):
    folder = label(
        tmp_path,
        "path,label,start,end",
        "a.mp4,run,0,2",
        "a.mp4,jump,1.5,3",  # 3 overlaps 2
        "a.mp4,run,3,4",  # touches: fine
        "a.mp4,run,3.5,4.5",  # same label: fine
        "b.mp4,run,,",
        "./b.mp4,jump,7,8",  # 7 overlaps 6, by another way of writing the path
        "a.mp4,run,3,4",  # 8 is 4 again
    )
    found = problems_of(folder, skip_bad=True)
    assert list(found) == ["labels.csv:3", "labels.csv:7", "labels.csv:8"]
    assert "lines 2 and 3" in found["labels.csv:3"]
    assert "lines 6 and 7" in found["labels.csv:7"]
    assert "the same clip as line 4" in found["labels.csv:8"]


def test_a_folder_per_class(tmp_path, make_frames):
    for name in ("run/10.mp4", "run/9.mp4", "jump high/x.webm", "run/notes.txt", ".hidden/y.mp4", "run/.z.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"video")
    make_frames(tmp_path / "run" / "clip-1", [0, 1])
    clips = load_clips(tmp_path, frame_rate=12.5)
    assert [(clip.name, clip.label) for clip in clips.clips] == [
        ("jump high/x.webm", "jump high"),
        ("run/9.mp4", "run"),
        ("run/10.mp4", "run"),
        ("run/clip-1", "run"),
    ]
    # Videos of the same name in two folders are two groups.
    assert clips.groups == ("jump high/x", "run/9", "run/10", "run/clip-1")
    assert clips.clips[3].frame_rate == 12.5


def test_what_has_no_labels(tmp_path, make_frames):
    folder = label(tmp_path / "videos", "x", name="actions.csv")
    found = load_clips(folder, require_labels=False)
    assert [(clip.name, clip.label) for clip in found.clips] == [("a.mp4", None), ("b.mp4", None)]
    assert found.labels == ()
    with pytest.raises(DataError, match="no labels") as caught:
        load_clips(folder)
    assert "actions.csv" in caught.value.remedy
    one = load_clips(folder / "a.mp4", require_labels=False)
    assert (one.root, one.clips[0].identity) == (folder, "a.mp4")
    frames = make_frames(tmp_path / "frames", [0, 1])
    assert load_clips(frames, require_labels=False).clips[0].name == "frames"
    with pytest.raises(DataError, match="no labels"):
        load_clips(folder / "a.mp4")
    unlabelled = label(tmp_path / "half", "path,label", "a.mp4,", "b.mp4,run")
    assert [clip.label for clip in load_clips(unlabelled, require_labels=False).clips] == [None, "run"]


def test_what_cannot_be_loaded_at_all(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        load_clips(tmp_path / "gone")
    with pytest.raises(DataError, match="no clips in this folder"):
        load_clips(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="neither a video nor a label file"):
        load_clips(tmp_path / "notes.txt")
    both = label(tmp_path / "both", "path,label", "a.mp4,run")
    label(both, '{"path": "a.mp4", "label": "run"}', name="labels.jsonl")
    with pytest.raises(DataError, match="two label files"):
        load_clips(both)
    with pytest.raises(DataError, match="no such label file") as caught:
        load_clips(both, labels="lables.csv")
    assert "labels.csv" in caught.value.remedy
    mixed = tmp_path / "mixed"
    for name in ("a.mp4", "run/b.mp4"):
        (mixed / name).parent.mkdir(parents=True, exist_ok=True)
        (mixed / name).write_bytes(b"video")
    with pytest.raises(DataError, match=r"without a class \(a.mp4\)"):
        load_clips(mixed)


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(lambda t: t.strip())
spans = st.tuples(st.integers(0, 10**7), st.integers(1, 10**6))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a.mp4", "b c.mp4"]), st.sampled_from(["x", "y"]), spans, texts), min_size=1
    ),
    names=st.tuples(texts, texts).filter(
        lambda t: " ".join(t[0].casefold().split()) != " ".join(t[1].casefold().split())
    ),
    as_json=st.booleans(),
)
def test_what_is_written_is_read(rows, names, as_json, tmp_path_factory):
    import unicodedata

    folded = {" ".join(unicodedata.normalize("NFKC", name).casefold().split()) for name in names}
    if len(folded) < 2 or "" in folded:
        return
    folder = label(tmp_path_factory.mktemp("set"), videos=("a.mp4", "b c.mp4"))
    (folder / "labels.csv").unlink()
    named = {"x": names[0], "y": names[1]}
    # One span after the other, so that none overlap.
    cells, now = [], 0
    for path, which, (gap, length), group in rows:
        start, end = now + gap, now + gap + length
        now = end
        cells.append((path, named[which], start / 1000, end / 1000, group))
    if as_json:
        keys = ("path", "label", "start", "end", "group")
        lines = [json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) for row in cells]
        (folder / "labels.jsonl").write_text("\n".join(lines), encoding="utf-8")
    else:
        with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(("path", "label", "start", "end", "group"))
            writer.writerows(cells)
    read = load_clips(folder)
    wanted = [(path, name.strip(), start, end, group.strip()) for path, name, start, end, group in cells]
    assert [(clip.name, clip.label, clip.start, clip.end, clip.group) for clip in read.clips] == wanted
    assert len({clip.identity for clip in read.clips}) == len(cells)


def test_names_that_no_label_file_could_hold(tmp_path):
    import os

    try:
        (tmp_path / os.fsdecode(b"bad\xff.mp4")).write_bytes(b"video")
    except OSError:
        pytest.skip("this file system keeps names in UTF-8")
    with pytest.raises(DataError, match="not valid UTF-8"):
        load_clips(tmp_path, require_labels=False)


def test_what_may_not_be_read(tmp_path, monkeypatch):
    folder = label(tmp_path, "path,label", "a.mp4,run")

    def refuse(self: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", refuse)  # root may read everything
    with pytest.raises(DataError, match="permission denied") as caught:
        load_clips(folder)
    assert "labels.csv" in caught.value.source
