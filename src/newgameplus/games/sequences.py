"""Sequences: spans of numbers over time with labels, found like clips and read whole, with all mistakes at once."""

from __future__ import annotations

import csv
import difflib
import fnmatch
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem
from newgameplus.files import digest_bytes
from newgameplus.games.clips import VIDEO_SUFFIXES, Clip, ClipSet, label_file, raise_data_problems
from newgameplus.games.images import visible
from newgameplus.games.sequence_formats import FORMATS, Table, is_sequence_file, read_sequence_file
from newgameplus.games.trajectories import SUFFIX

__all__ = ["SequenceSet", "data_kinds", "find_sequences", "load_sequences"]

_HOW = "write a labels.csv with the columns path,label[,start,end,group], or make one folder for each class"
_SKIP = "correct or replace it, or leave such sequences out with --skip-bad"


@dataclass(frozen=True)
class SequenceSet:
    """Sequences as read.

    Attributes:
        clip_set: The spans that are whole; the others are in its ``left_out``.
        channels: Names of the channels, the same for all.
        values: For each span float32 [steps, channels].
        digests: Digest of the numbers of each span.
        rates: Steps per second of each span.
    """

    clip_set: ClipSet
    channels: tuple[str, ...]
    values: tuple[npt.NDArray[np.float32], ...]
    digests: tuple[str, ...]
    rates: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def targets(self, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return int64 [sequences]: the index of each label in ``labels``."""
        places = {label: place for place, label in enumerate(labels)}
        return np.array([places[str(clip.label)] for clip in self.clip_set.clips], dtype=np.int64)


def data_kinds(path: str | Path, labels: str | Path | None = None) -> frozenset[str]:
    """Say what data are, looking at names only.

    Returns:
        ``clip``, ``sequence``, or both for a recording that keeps a trajectory beside each video. What cannot be read
        counts as clips, so that the reader of clips tells what is wrong.
    """
    try:
        found = _paths(Path(path), labels)
    except (DataError, OSError, ValueError, csv.Error):
        return frozenset({"clip"})
    if found and all(is_sequence_file(file) for file in found):
        return frozenset({"sequence"})
    if found and all(file.suffix.lower() in VIDEO_SUFFIXES and _beside(file).is_file() for file in found):
        return frozenset({"clip", "sequence"})
    return frozenset({"clip"})


def _paths(path: Path, labels: str | Path | None) -> list[Path]:
    """Return the first few files that data name."""
    table = _label_file(path, labels)
    if table is not None:
        with table.open(encoding="utf-8-sig", newline="") as handle:
            if table.suffix.lower() != ".csv":
                import json

                rows = [json.loads(line) for line in handle if line.strip()]
            else:
                rows = [{str(k).strip().lower(): v for k, v in row.items()} for row in csv.DictReader(handle)]
        return [table.parent / str(row.get("path") or "").strip() for row in rows if isinstance(row, dict)]
    if path.is_file():
        return [path]
    inside = [entry for entry in visible(path.iterdir()) if is_sequence_file(entry)]
    plain = [entry for entry in visible(path.iterdir()) if entry.is_file() and entry.suffix.lower() in VIDEO_SUFFIXES]
    deeper = [file for folder in visible(path.iterdir()) if folder.is_dir() for file in visible(folder.iterdir())]
    media = [file for file in deeper if is_sequence_file(file) or file.suffix.lower() in VIDEO_SUFFIXES]
    return plain or inside or ([] if any(file.is_dir() for file in deeper) else media)


def _beside(video: Path) -> Path:
    return video.with_name(video.stem + SUFFIX)


def _label_file(path: Path, labels: str | Path | None) -> Path | None:
    """Return the label file; a lone CSV file is one only if its header says so, else it is a sequence itself."""
    if labels is None and path.is_file() and path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", errors="replace") as handle:
            header = [cell.strip().lower() for cell in handle.readline().split(",")]
        return path if "path" in header or "label" in header else None
    return label_file(path, labels)


def find_sequences(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    require_labels: bool = True,
    skip_bad: bool = False,
    frame_rate: float = 30.0,
) -> ClipSet:
    """Find sequences and their labels; no numbers are read yet.

    Args:
        path: A label file (CSV or JSON lines with ``path,label[,start,end,group]``); a folder with ``labels.csv`` or
            ``labels.jsonl`` in it; a folder per class with a file for each sequence; and without labels one file or a
            folder of them. Lines that name a video mean the trajectory recorded beside it.
        labels: Name of the label file in the folder, or its path.
        require_labels: Whether sequences without labels are an error.
        skip_bad: Leave out lines of a label file that name no file or make no sense, instead of raising.
        frame_rate: Steps per second of files that do not say it; ``start`` and ``end`` are seconds.

    Raises:
        DataError: With everything that is wrong, each with its file and line.
    """
    path = Path(path)
    if not path.exists():
        raise DataError("no such file or folder", source=str(path), remedy="correct the path")
    table = _label_file(path, labels)
    if table is not None:
        from newgameplus.games.labels import read_label_file

        found = read_label_file(table, frame_rate=frame_rate, skip_bad=skip_bad, require_labels=require_labels)
        return replace(found, clips=tuple(_as_sequence(clip) for clip in found.clips))
    if path.is_file():
        return ClipSet(path.parent, (_whole(path, path.parent, None, frame_rate),))
    found = _search(path, frame_rate)
    if require_labels and any(clip.label is None for clip in found.clips):
        raise DataError("these sequences have no labels", source=str(path), remedy=_HOW)
    return found


def _as_sequence(clip: Clip) -> Clip:
    beside = _beside(clip.path)
    if is_sequence_file(clip.path) or not beside.is_file():
        return clip
    return replace(clip, path=beside, name=(Path(clip.name).parent / beside.name).as_posix())


def _whole(path: Path, root: Path, label: str | None, frame_rate: float) -> Clip:
    name = Path(os.path.relpath(path, root)).as_posix()
    ending = next((ending for ending in FORMATS if name.lower().endswith(ending)), "")
    return Clip(path, label, group=name.removesuffix(name[len(name) - len(ending) :]), name=name, frame_rate=frame_rate)


def _search(root: Path, frame_rate: float) -> ClipSet:
    def inside(folder: Path) -> list[Path]:
        return [entry for entry in visible(folder.iterdir()) if is_sequence_file(entry) and entry.is_file()]

    plain = [_whole(path, root, None, frame_rate) for path in inside(root)]
    classes = [
        _whole(path, root, folder.name.strip(), frame_rate)
        for folder in visible(root.iterdir())
        if folder.is_dir()
        for path in inside(folder)
    ]
    if plain and classes:
        message = f"both sequences without a class ({plain[0].name}) and folders of classes ({classes[0].name})"
        remedy = "put every sequence into the folder of its class, or write a labels.csv"
        raise DataError(message, source=str(root), remedy=remedy)
    if not plain and not classes:
        remedy = f"put files that end in {', '.join(FORMATS)} into it, or name another folder"
        raise DataError("no sequences in this folder", source=str(root), remedy=remedy)
    return ClipSet(root, tuple(plain or classes))


def load_sequences(
    clip_set: ClipSet,
    *,
    channels: Sequence[str] = (),
    skip_bad: bool = False,
    exactly: bool = False,
) -> SequenceSet:
    """Read the numbers of all spans.

    Args:
        clip_set: What :func:`find_sequences` found.
        channels: Names of the channels to use, with ``*`` for any text; all by default. The files' order
            counts.
        skip_bad: Leave out sequences that cannot be read, instead of raising.
        exactly: ``channels`` are to be there, all of them and in this order, as a trained model needs them.

    Raises:
        DataError: Names every file that cannot be read, or whose channels are not those of the others.
    """
    problems: list[tuple[Path, Problem]] = []
    tables: dict[Path, Table] = {}
    for path in dict.fromkeys(clip.path for clip in clip_set.clips):
        try:
            tables[path] = read_sequence_file(path)
        except DataError as error:
            problems += [(path, problem) for problem in error.problems]
    names = tuple(channels) if exactly else _common_channels(tables, channels, str(clip_set.root))
    for path, table in list(tables.items()):
        chosen = [index for index, name in enumerate(table.channels) if name in names]
        found = tuple(table.channels[index] for index in chosen)
        if sorted(found) != sorted(names) or (not channels and len(table.channels) != len(names)):
            problems.append((path, Problem(_difference(table.channels, names, bool(channels)), str(path), _SKIP)))
            del tables[path]
            continue
        order = [table.channels.index(name) for name in names]
        tables[path] = Table(names, table.values[:, order], table.rate)
    kept: list[tuple[Clip, npt.NDArray[np.float32], float]] = []
    for clip in clip_set.clips:
        if clip.path in tables:
            values, problem = _cut(tables[clip.path], clip)
            if problem is None:
                kept.append((clip, values, tables[clip.path].rate or clip.frame_rate))
            else:
                problems.append((clip.path, problem))
    return _sequence_set(clip_set, names, kept, [problem for _, problem in problems], skip_bad)


def _sequence_set(
    clip_set: ClipSet,
    names: tuple[str, ...],
    kept: list[tuple[Clip, npt.NDArray[np.float32], float]],
    problems: list[Problem],
    skip_bad: bool,
) -> SequenceSet:
    if not skip_bad or not kept:
        raise_data_problems(problems, f"{len(problems)} problems in sequences of {clip_set.root}")
    whole = replace(
        clip_set, clips=tuple(clip for clip, _, _ in kept), left_out=(*clip_set.left_out, *dict.fromkeys(problems))
    )
    values = tuple(np.ascontiguousarray(rows) for _, rows, _ in kept)
    digests = tuple(digest_bytes(rows.tobytes()) for rows in values)
    return SequenceSet(whole, names, values, digests, tuple(rate for _, _, rate in kept))


def _common_channels(tables: dict[Path, Table], wanted: Sequence[str], source: str) -> tuple[str, ...]:
    """Return the channels that most files have, or those of them that are wanted."""
    if not tables:
        return ()
    counts = Counter(table.channels for table in tables.values())
    usual = counts.most_common(1)[0][0]
    if not wanted:
        return usual
    problems = []
    for pattern in wanted:
        if not fnmatch.filter(usual, pattern):
            near = difflib.get_close_matches(pattern, usual, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(usual)}"
            problems.append(Problem(f"no channel is called {pattern!r}", "data.channels", remedy))
    raise_data_problems(problems, f"{source}: {len(problems)} channels are not there")
    return tuple(name for name in usual if any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted))


def _difference(found: Sequence[str], names: Sequence[str], some: bool) -> str:
    missing = [name for name in names if name not in found]
    more = [] if some else [name for name in found if name not in names]
    parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also has {', '.join(more)}"] * bool(more)
    return f"its channels are not those of the other files: it {' and '.join(parts) or 'names one twice'}"


def _cut(table: Table, clip: Clip) -> tuple[npt.NDArray[np.float32], Problem | None]:
    """Return the rows of a span: those whose time lies in it, at least one."""
    rate = table.rate or clip.frame_rate
    length = len(table.values)
    first = int(np.ceil(clip.start * rate - 1e-6))
    last = length if clip.end is None else min(length, int(np.ceil(clip.end * rate - 1e-6)))
    if first < last:
        return table.values[first:last], None
    told = f"no rows in the span, the file ends at {length / rate:.3f} s ({rate:g} rows a second)"
    return table.values[:0], Problem(f"{clip.identity}: {told}", clip.origin or str(clip.path), _SKIP)
