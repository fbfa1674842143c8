"""What people read of a choice among tile models or policies: a table of 80 columns, the reason, and the advice."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["choice_text"]

_WIDTH = 80
_Row = Mapping[str, Any]


def choice_text(choice: _Row, scenario: str) -> str:
    """Return a choice as text.

    Args:
        choice: As plain data, perhaps with ``written_to`` and ``next``.
        scenario: ``scene`` or ``agent``.
    """
    rows = _scene_rows(choice) if scenario == "scene" else _agent_rows(choice)
    lines = _table(rows)
    if scenario == "agent" and any(one["short_run"] is None for one in choice["candidates"]):
        lines += ["", *_wrapped("a return without an interval is that of the first few episodes alone")]
    for caution in dict.fromkeys(one["short_run"].get("caution") for one in choice["candidates"] if one["short_run"]):
        lines += ["", *_wrapped(f"no interval: {caution}")] if caution else []
    expected = choice["by_prior"][:3]
    if len(choice["candidates"]) > 1 and expected:
        lines += ["", *_wrapped(f"expected before measuring (the baseline): {', '.join(expected)}")]
    for left_out in choice["left_out"]:
        lines += ["", *_wrapped(f"left out {left_out['name']}: {left_out['message']}")]
        lines += _wrapped(f"remedy: {left_out['remedy']}", "    ") if left_out["remedy"] else []
    lines += ["", *_wrapped(f"choose {choice['reason']}")]
    lines += ["", *_wrapped(choice["advice"])] if choice["advice"] else []
    lines += ["", f"written to {choice['written_to']}"] if choice.get("written_to") else []
    lines += [f"next: {choice['next']}"] if choice.get("next") else []
    return "\n".join(lines)


def _scene_rows(choice: _Row) -> list[list[str]]:
    rows = [["model", "bits a tile", "adapted", "95 % interval", "weights", "fit", "memory"]]
    for one in choice["candidates"]:
        run, cost = one["short_run"], one["cost"]
        rows.append(
            [
                one["name"],
                f"{-one['scores']['zero-shot']:.3f}",
                f"{-run['value']:.3f}" if run else "-",
                f"{-run['high']:.3f}..{-run['low']:.3f}" if run and run["low"] is not None else "-",
                _count(one["parameters"]),
                _seconds(cost["fit_seconds"]) if cost else "-",
                f"{cost['fit_bytes'] / 1e6:,.0f} MB" if cost else "-",
            ]
        )
    return rows


def _agent_rows(choice: _Row) -> list[list[str]]:
    rows = [["policy", "return", "95 % interval", "agreement", "weights", "act", "play"]]
    for one in choice["candidates"]:
        run, cost = one["short_run"], one["cost"]
        agreed = one["scores"].get("agreement")
        rows.append(
            [
                one["name"],
                f"{one['scores']['return']:.3g}",
                f"{run['low']:.3g}..{run['high']:.3g}" if run else "-",
                "-" if agreed is None else f"{agreed:.0%}",
                _count(one["parameters"]),
                f"{cost['latency_seconds'] * 1000:.2f} ms",
                _seconds(cost["fit_seconds"]),
            ]
        )
    return rows


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines; a name that leaves no room stands on a line of its own."""
    widths = [max(len(row[n]) for row in rows) for n in range(1, len(rows[0]))]
    room = _WIDTH - sum(width + 2 for width in widths)
    lines = []
    for row in rows:
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True))
        if len(row[0]) <= room:
            lines.append(f"{row[0]:<{room}}{numbers}".rstrip())
        else:
            lines += [*_wrapped(row[0]), f"{'':<{room}}{numbers}"]
    return lines


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e5 else f"{number:,}"


def _seconds(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )
