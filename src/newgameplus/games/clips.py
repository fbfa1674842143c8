"""Clips: which span of which video shows what, read from a label file, a folder per class, or plain videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.games.images import IMAGE_SUFFIXES, natural_order, visible

__all__ = ["VIDEO_SUFFIXES", "Clip", "ClipSet", "label_file", "load_clips", "raise_data_problems"]

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
)
_LABEL_FILES = ("labels.csv", "labels.jsonl")
_LABEL_SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".ndjson"})
_SHOWN = 20


@dataclass(frozen=True)
class Clip:
    """A span of a video, and what it shows.

    Attributes:
        path: Video file, or folder of frames.
        label: Name of its class; ``None`` if nobody has said.
        start: Seconds from the start of the video.
        end: Seconds from the start of the video; ``None`` is its end.
        group: What it must not be split from (episode, player, match). By default each video is a group.
        origin: Where the label stands (``labels.csv:17``), for messages.
        name: Path as seen from the set's root, with forward slashes; the same on every machine.
        frame_rate: Frames per second, if ``path`` is a folder of frames.
    """

    path: Path
    label: str | None
    start: float = 0.0
    end: float | None = None
    group: str = ""
    origin: str = ""
    name: str = ""
    frame_rate: float = 30.0

    @property
    def identity(self) -> str:
        """What tells it from all other clips of its set, on every machine: ``relative/path.mp4#1.250-1.620``."""
        name = self.name or self.path.as_posix()
        if self.end is None:
            return name if self.start == 0 else f"{name}#{self.start:.3f}-"
        return f"{name}#{self.start:.3f}-{self.end:.3f}"


@dataclass(frozen=True)
class ClipSet:
    """Clips that belong together.

    Attributes:
        root: Folder from which their names count.
        clips: The clips, in the order of the label file or of the names.
        left_out: What could not be used, and why.
    """

    root: Path
    clips: tuple[Clip, ...]
    left_out: tuple[Problem, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(sorted({clip.label for clip in self.clips if clip.label is not None}))

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each clip."""
        return tuple(clip.group for clip in self.clips)


def raise_data_problems(problems: Sequence[Problem], summary: str) -> None:
    """Raise a DataError with the problems, the first 20 of them spelled out; do nothing when there are none."""
    shown = list(problems[:_SHOWN])
    if len(problems) > _SHOWN:
        shown.append(Problem(f"... and {len(problems) - _SHOWN:,} more like these"))
    raise_problems(shown, DataError, summary)


def load_clips(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    require_labels: bool = True,
    skip_bad: bool = False,
    frame_rate: float = 30.0,
) -> ClipSet:
    """Find clips and their labels; nothing is decoded yet.

    Args:
        path: One of: a label file (CSV, or JSON lines) with ``path,label[,start,end,group]``; a folder with
            ``labels.csv`` or ``labels.jsonl`` in it; a folder per class, with a video or a folder of frames for each
            clip; and without labels a video, a folder of frames, or a folder of videos.
        labels: Name of the label file in the folder, or its path.
        require_labels: Whether clips without labels are an error.
        skip_bad: Leave out lines of a label file that name no file or make no sense, instead of raising.
        frame_rate: Frames per second of folders of frames.

    Returns:
        The clips; each video is a group unless a group column says otherwise.

    Raises:
        DataError: With everything that is wrong, each with its file and line.
    """
    path = Path(path)
    try:
        return _load(path, labels, require_labels=require_labels, skip_bad=skip_bad, frame_rate=frame_rate)
    except OSError as error:
        message = f"cannot be read ({(error.strerror or str(error)).lower()})"
        raise DataError(message, source=error.filename or str(path), remedy="correct its permissions") from error


def _load(path: Path, labels: str | Path | None, *, require_labels: bool, skip_bad: bool, frame_rate: float) -> ClipSet:
    if not path.exists():
        raise DataError("no such file or folder", source=str(path), remedy="correct the path")
    named = label_file(path, labels)
    if named is not None:
        from newgameplus.games.labels import read_label_file

        return read_label_file(named, frame_rate=frame_rate, skip_bad=skip_bad, require_labels=require_labels)
    if path.is_file():
        found = ClipSet(path.parent, (_whole(path, path.parent, None, frame_rate),))
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            remedy = f"name a folder, a label file (.csv, .jsonl) or a video ({', '.join(sorted(VIDEO_SUFFIXES))})"
            raise DataError("this is neither a video nor a label file", source=str(path), remedy=remedy)
    else:
        found = _search_folder(path, frame_rate)
    if require_labels and any(clip.label is None for clip in found.clips):
        raise DataError("these clips have no labels", source=str(path), remedy=_how_to_label(path))
    return found


def label_file(path: Path, labels: str | Path | None) -> Path | None:
    """Return the label file that is meant; ``None`` if there is none.

    Raises:
        DataError: The named one is not there, or there are two.
    """
    if labels is not None:
        given = [path / labels if path.is_dir() else path.parent / labels, Path(labels)]
        for candidate in given:
            if candidate.is_file():
                return candidate
        near = _other_label_files(path)
        remedy = f"there are: {', '.join(near)}" if near else "correct its name"
        raise DataError("no such label file", source=str(given[0]), remedy=remedy)
    if path.is_file():
        return path if path.suffix.lower() in _LABEL_SUFFIXES else None
    found = [path / name for name in _LABEL_FILES if (path / name).is_file()]
    if len(found) > 1:
        remedy = "say which one is meant with `labels`, or delete one"
        raise DataError("two label files: labels.csv and labels.jsonl", source=str(path), remedy=remedy)
    return found[0] if found else None


def _other_label_files(path: Path) -> list[str]:
    folder = path if path.is_dir() else path.parent
    return [entry.name for entry in visible(folder.iterdir()) if entry.suffix.lower() in _LABEL_SUFFIXES]


def _how_to_label(path: Path) -> str:
    others = _other_label_files(path)
    if others:
        return f"is one of these the label file: {', '.join(others)}? Name it with `labels`"
    return "write a labels.csv with the columns path,label[,start,end,group], or make one folder for each class"


def _whole(path: Path, root: Path, label: str | None, frame_rate: float) -> Clip:
    name = Path(os.path.relpath(path, root)).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError("the name is not valid UTF-8", source=repr(name), remedy="rename the file") from error
    return Clip(path, label, group=default_group(name), name=name, frame_rate=frame_rate)


def default_group(name: str) -> str:
    """Return the group of a video that nobody has put into one: its name without the suffix."""
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix.lower() in VIDEO_SUFFIXES else name


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _is_frame_folder(path: Path) -> bool:
    return path.is_dir() and any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in path.iterdir())


def _media_in(folder: Path) -> list[Path]:
    """Return videos and folders of frames directly in a folder, in natural order."""
    found = [entry for entry in folder.iterdir() if _is_video(entry) or _is_frame_folder(entry)]
    return sorted(visible(found), key=natural_order)


def _search_folder(root: Path, frame_rate: float) -> ClipSet:
    """Read a folder without a label file: classes by folder, or clips without labels."""
    if _is_frame_folder(root):
        return ClipSet(root.parent, (_whole(root, root.parent, None, frame_rate),))
    plain = [_whole(path, root, None, frame_rate) for path in _media_in(root)]
    classes = [
        _whole(path, root, folder.name.strip(), frame_rate)
        for folder in visible(root.iterdir())
        if folder.is_dir() and not _is_frame_folder(folder)
        for path in _media_in(folder)
    ]
    if plain and classes:
        remedy = "put every clip into the folder of its class, or write a labels.csv"
        message = f"both clips without a class ({plain[0].name}) and folders of classes ({classes[0].name})"
        raise DataError(message, source=str(root), remedy=remedy)
    if not plain and not classes:
        remedy = "put videos or folders of frames into it, or name another folder"
        raise DataError("no clips in this folder", source=str(root), remedy=remedy)
    return ClipSet(root, tuple(plain or classes))
