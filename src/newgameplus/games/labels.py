"""Label files: CSV and JSON lines with the columns path, label, start, end and group; all mistakes found at once."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from newgameplus.errors import DataError, Problem
from newgameplus.games.clips import Clip, ClipSet, default_group, raise_data_problems

__all__ = ["COLUMNS", "read_label_file"]

COLUMNS = ("path", "label", "start", "end", "group")
_SKIP = "correct the line, or leave such lines out with --skip-bad"


@dataclass(frozen=True)
class _Row:
    """One line of a label file, as written."""

    line: int
    values: dict[str, Any]


@dataclass
class _Findings:
    """Problems met so far: those of one line only (it can be left out), and those of the file as a whole."""

    file: Path
    lines: list[Problem] = field(default_factory=list)
    whole: list[Problem] = field(default_factory=list)

    def at(self, line: int) -> str:
        return f"{self.file.name}:{line}"

    def bad_line(self, line: int, message: str, remedy: str = _SKIP) -> None:
        self.lines.append(Problem(message, self.at(line), remedy))

    def bad_file(self, message: str, line: int | None = None, remedy: str = "") -> None:
        self.whole.append(Problem(message, self.at(line) if line else str(self.file), remedy))


def read_label_file(file: Path, *, frame_rate: float, skip_bad: bool, require_labels: bool = True) -> ClipSet:
    """Read a label file. Paths in it count from its folder.

    Args:
        file: CSV with a header, or JSON lines (by its suffix), in UTF-8.
        frame_rate: Frames per second of folders of frames.
        skip_bad: Leave out single lines that are wrong. What concerns the file as a whole (its columns, or lines that
            contradict each other) is an error all the same.
        require_labels: Whether every line must have a label.

    Raises:
        DataError: With every mistake in the file, each with its line.
    """
    findings = _Findings(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        remedy = "save it as UTF-8 text"
        raise DataError(f"not UTF-8 text (byte {error.start})", source=str(file), remedy=remedy) from error
    read = _csv_rows if file.suffix.lower() == ".csv" else _json_rows
    rows = list(read(text, findings))
    raise_data_problems(findings.whole, f"{file}: the label file cannot be read")
    if not rows and not findings.lines:
        raise DataError("the label file has no lines", source=str(file), remedy="write one line for each clip")
    parsed = [(row, clip) for row in rows if (clip := _parse(row, findings, frame_rate, require_labels)) is not None]
    present = _present(parsed, findings)
    _check_spelling(present, findings)
    _check_overlaps(present, findings)
    wrong = findings.whole if skip_bad else [*findings.whole, *findings.lines]
    raise_data_problems(sorted(wrong, key=_by_line), f"{file}: {len(wrong)} problems in the label file")
    if not present:
        raise DataError("no line of the label file can be used", source=str(file), remedy=str(findings.lines[0]))
    return ClipSet(file.parent, tuple(clip for _, clip in present), tuple(findings.lines))


def _by_line(problem: Problem) -> int:
    line = problem.source.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


def _csv_rows(text: str, findings: _Findings) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        if not _good_header(header, findings):
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                remedy = 'put a path or label with a comma in it between double quotes: "a, b.mp4"'
                findings.bad_line(reader.line_num, f"{len(cells)} cells under {len(header)} columns", remedy)
                continue
            yield _Row(reader.line_num, dict(zip(header, cells, strict=False)))
    except csv.Error as error:
        findings.bad_file(f"not CSV ({error})", reader.line_num, "close every double quote; save it as plain CSV")


def _good_header(header: list[str], findings: _Findings) -> bool:
    if not any(header):
        findings.bad_file("the label file is empty", remedy="write the header path,label,start,end,group and the clips")
        return False
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        findings.bad_file("the columns are not separated by commas", 1, "save it as CSV with commas")
        return False
    for name in dict.fromkeys(header):
        if name not in COLUMNS:
            findings.bad_file(f"unknown column {name!r}", 1, _meant(name, list(COLUMNS)))
        elif header.count(name) > 1:
            findings.bad_file(f"column {name!r} stands there twice", 1, "delete one")
    for name in ("path", "label"):
        if name not in header:
            findings.bad_file(f"column {name!r} is missing", 1, "the first line must be path,label[,start,end,group]")
    return not findings.whole


def _meant(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _json_rows(text: str, findings: _Findings) -> Iterator[_Row]:
    # Not splitlines(): JSON strings may hold line separators of Unicode as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            findings.bad_line(number, f"not JSON ({error})", 'write one object a line: {"path": ..., "label": ...}')
            continue
        if not isinstance(values, dict):
            findings.bad_line(number, f"not an object: {line.strip()[:60]}", 'write {"path": ..., "label": ...}')
            continue
        unknown = [name for name in values if name not in COLUMNS]
        for name in unknown:
            findings.bad_file(f"unknown key {name!r}", number, _meant(name, list(COLUMNS)))
        if not unknown:
            yield _Row(number, values)


def _parse(row: _Row, findings: _Findings, frame_rate: float, require_labels: bool) -> Clip | None:
    """Return the clip that a line describes, or None after noting all that is wrong with the line."""
    before = len(findings.lines)
    texts = {name: _text(row, name, findings) for name in ("path", "label", "group")}
    if not texts["path"].strip():
        findings.bad_line(row.line, "the path is missing")
    if require_labels and not texts["label"].strip():
        findings.bad_line(row.line, "the label is missing")
    start, end = _seconds(row, "start", findings), _seconds(row, "end", findings)
    if end is not None and (start or 0.0) >= end:
        findings.bad_line(row.line, f"start {start or 0.0:g} is not before end {end:g}")
    if len(findings.lines) > before:
        return None
    path, name = _place(findings.file.parent, texts["path"])
    return Clip(
        path,
        texts["label"] or None,
        start or 0.0,
        end,
        texts["group"].strip() or default_group(name),
        findings.at(row.line),
        name,
        frame_rate,
    )


def _text(row: _Row, name: str, findings: _Findings) -> str:
    value = row.values.get(name)
    if value is None:
        return ""
    if isinstance(value, bool | list | dict) or (name == "path" and not isinstance(value, str)):
        findings.bad_line(row.line, f"{name} must be text, not {json.dumps(value)[:60]}")
        return "?"
    if "\0" in str(value):
        findings.bad_line(row.line, f"{name} holds a zero character")
        return "?"
    return str(value)


def _seconds(row: _Row, name: str, findings: _Findings) -> float | None:
    value = row.values.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        findings.bad_line(row.line, f"{name} is not a number of seconds: {value!r}")
        return None
    if not math.isfinite(seconds) or seconds < 0:
        findings.bad_line(row.line, f"{name} is {value}, not a number of seconds from 0 on")
        return None
    return seconds


def _place(root: Path, written: str) -> tuple[Path, str]:
    """Return where a path leads and its name in the set; blanks around it count only if the file has them."""
    if not _exists(root / written) and _exists(root / written.strip()):
        written = written.strip()
    path = root / written
    return path, Path(os.path.relpath(path, root)).as_posix()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _present(parsed: list[tuple[_Row, Clip]], findings: _Findings) -> list[tuple[_Row, Clip]]:
    """Keep the clips whose files exist; a file that is missing is told once, with its lines counted."""
    there: dict[Path, bool] = {}
    missing: dict[Path, list[int]] = defaultdict(list)
    kept = []
    for row, clip in parsed:
        if clip.path not in there:
            there[clip.path] = _exists(clip.path)
        if there[clip.path]:
            kept.append((row, clip))
        else:
            missing[clip.path].append(row.line)
    for path, lines in missing.items():
        more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 else ""
        name = os.path.relpath(path, findings.file.parent)
        findings.bad_line(lines[0], f"no such file: {name}{more}", _nearest_file(path, findings.file.parent))
    return kept


def _nearest_file(path: Path, root: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"there is no folder {path.parent}: paths count from {root}"
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"{_SKIP}; paths count from {root}"


def _check_spelling(present: list[tuple[_Row, Clip]], findings: _Findings) -> None:
    """Find labels that differ only by case, blanks or the way Unicode composes them; trim those that do not."""
    spellings: dict[str, dict[str, int]] = defaultdict(dict)
    for row, clip in present:
        if clip.label:
            folded = " ".join(unicodedata.normalize("NFKC", clip.label).casefold().split())
            spellings[folded].setdefault(clip.label, row.line)
    for forms in spellings.values():
        if len(forms) > 1:
            (first, line), *others = forms.items()
            for other, place in others:
                message = f"label {other!r} differs from {first!r} in line {line} only by case or blanks"
                findings.bad_file(message, place, "write both the same way")
    for index, (row, clip) in enumerate(present):
        if clip.label and clip.label != clip.label.strip():
            present[index] = row, _relabelled(clip)


def _relabelled(clip: Clip) -> Clip:
    from dataclasses import replace

    return replace(clip, label=(clip.label or "").strip())


def _check_overlaps(present: list[tuple[_Row, Clip]], findings: _Findings) -> None:
    """Find spans of one video that overlap with different labels, and clips that stand there twice."""
    videos: dict[str, list[tuple[float, float, int, str | None]]] = defaultdict(list)
    for row, clip in present:
        end = math.inf if clip.end is None else clip.end
        videos[os.path.realpath(clip.path)].append((clip.start, end, row.line, clip.label))
    for spans in videos.values():
        spans.sort(key=lambda span: span[:3])
        for index, (start, end, line, label) in enumerate(spans):
            for other_start, other_end, other_line, other_label in spans[index + 1 :]:
                if other_start >= end:
                    break
                first, second = sorted((line, other_line))
                if (start, end, label) == (other_start, other_end, other_label):
                    findings.bad_file(f"the same clip as line {first}", second, "delete one of the lines")
                elif label != other_label:
                    what = f"{_span(other_start, other_end)} {other_label!r} overlaps {_span(start, end)} {label!r}"
                    message = f"{what}: lines {first} and {second} give the same moment two labels"
                    findings.bad_file(message, second, "end one where the other starts, or delete one")


def _span(start: float, end: float) -> str:
    return f"{start:g}-{'end' if math.isinf(end) else format(end, 'g')}"
