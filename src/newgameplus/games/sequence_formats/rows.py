"""Sequences as CSV: a row for each step of time, a column for each channel, names in the first line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from newgameplus.errors import DataError, Problem
from newgameplus.games.clips import raise_data_problems
from newgameplus.games.sequence_formats.contract import Table, finite_table

__all__ = ["read"]

_SKIP = "correct it, or leave such sequences out with --skip-bad"


def read(path: Path) -> Table:
    """Read a CSV file in UTF-8; a first line that is all numbers is a row, and channels are then called ``c0, c1 ...``.

    Raises:
        DataError: With every line that has other cells than the first, and every column with a cell that is no number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        remedy = "save it as UTF-8 text"
        raise DataError(f"not UTF-8 text (byte {error.start})", source=str(path), remedy=remedy) from error
    lines, cells = _rows(path, text)
    if not cells:
        raise DataError("the file is empty", source=str(path), remedy=_SKIP)
    if all(_number(cell) is not None for cell in cells[0]):
        channels = [f"c{index}" for index in range(len(cells[0]))]
    else:
        channels = [cell.strip() for cell in cells[0]]
        lines, cells = lines[1:], cells[1:]
    if len(channels) == 1 and any(mark in channels[0] for mark in ";\t|"):
        remedy = "save it as CSV with commas"
        raise DataError("the columns are not separated by commas", source=f"{path}:1", remedy=remedy)
    return finite_table(path, channels, _numbers(path, channels, lines, cells), lines)


def _rows(path: Path, text: str) -> tuple[list[int], list[list[str]]]:
    """Return the lines that are not empty, and their cells."""
    lines, cells = [], []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                lines.append(reader.line_num)
                cells.append(row)
    except csv.Error as error:
        source = f"{path}:{reader.line_num}"
        raise DataError(f"not CSV ({error})", source=source, remedy="close every double quote") from error
    return lines, cells


def _numbers(path: Path, channels: list[str], lines: list[int], cells: list[list[str]]) -> np.ndarray[tuple[int, int]]:
    """Return float64 [rows, channels]; raise for lines of another length and columns with text in them."""
    problems = []
    values = np.zeros((len(cells), len(channels)))
    texts: dict[int, list[tuple[int, str]]] = {}
    for row, (line, found) in enumerate(zip(lines, cells, strict=True)):
        if len(found) != len(channels):
            message = f"{len(found)} cells under {len(channels)} columns"
            problems.append(Problem(message, f"{path}:{line}", _SKIP))
            continue
        for column, cell in enumerate(found):
            number = _number(cell)
            if number is None:
                texts.setdefault(column, []).append((line, cell.strip()))
            else:
                values[row, column] = number
    for column, found_texts in texts.items():
        line, cell = found_texts[0]
        more = f" (and {len(found_texts) - 1:,} more lines)" if len(found_texts) > 1 else ""
        told = f"holds {cell[:40]!r}" if cell else "is empty here"
        message = f"column {channels[column]!r} {told}, not a number{more}"
        problems.append(Problem(message, f"{path}:{line}", "name other columns with data.channels, or " + _SKIP))
    raise_data_problems(problems, f"{path}: {len(problems)} problems")
    return values


def _number(cell: str) -> float | None:
    """Return the number in a cell; ``nan`` and ``inf`` count as numbers here and are told later."""
    try:
        return float(cell)
    except ValueError:
        return {"true": 1.0, "false": 0.0}.get(cell.strip().casefold())
