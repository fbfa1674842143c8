"""Evaluations as plain text for a terminal: at most 80 columns, no colour codes, the verdict first."""

from __future__ import annotations

import textwrap
from typing import Any

from newgameplus.evaluate.verdict import number, signed, span

__all__ = ["columns", "shorten", "text_table", "wrap"]

_WIDTH = 80
_NAME_WIDTH = 19


def shorten(text: str, width: int) -> str:
    """Cut the middle out of ``text`` where it takes more than ``width`` terminal cells; control characters go too."""
    from rich.cells import cell_len

    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    if cell_len(clean) <= width:
        return clean
    head, tail = clean[: len(clean) // 2], clean[len(clean) // 2 :]
    while cell_len(head) + cell_len(tail) + 1 > width:
        head, tail = (head[:-1], tail) if cell_len(head) >= cell_len(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def columns(rows: list[list[str]], gap: int = 2) -> list[str]:
    """Lay rows out in columns as wide as their widest cell; the first row is the head, underlined."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        (" " * gap)
        .join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in rows
    ]
    return [lines[0], (" " * gap).join("-" * width for width in widths), *lines[1:]]


def text_table(evaluation: dict[str, Any]) -> str:
    """Return an evaluation as text of at most 80 columns.

    Args:
        evaluation: As ``comparison.compare`` makes it.

    Returns:
        The verdict, one line for each arm with intervals and the reference's gain over it, the arms that did not run
        and why, and the cautions.
    """
    level = f"({evaluation['level'] * 100:g} %)"
    rows = [["", f"accuracy {level}", "macro F1", "ECE", f"gain over it {level}"]]
    for row in evaluation["arms"]:
        accuracy, difference = row["metrics"]["accuracy"], row["difference"]
        gain = f"{signed(difference['accuracy']['value'])} {span(difference['accuracy'])}" if difference else ""
        rows.append(
            [
                shorten(row["title"], _NAME_WIDTH),
                f"{number(accuracy['value'])} {span(accuracy)}",
                number(row["metrics"]["macro_f1"]["value"]),
                number(row["metrics"]["ece"]["value"]),
                gain,
            ]
        )
    lines = [*wrap(evaluation["verdict"]["sentence"], ""), "", *columns(rows)]
    lines += [line for name, why in evaluation["skipped"].items() for line in wrap(f"{name}: did not run, {why}")]
    lines += [line for caution in evaluation["cautions"] for line in wrap(f"caution: {caution}")]
    return "\n".join(lines)


def wrap(text: str, indent: str = "  ") -> list[str]:
    """Break text into lines of at most 80 columns; ``indent`` stands before the second and later ones."""
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_on_hyphens=False)
