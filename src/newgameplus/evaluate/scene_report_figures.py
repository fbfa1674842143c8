"""Figures of the scene report as SVG text: copied columns, requested against achieved values, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from newgameplus.evaluate.figures import _FAINT, _INK, _MARKERS, _SERIES, _STYLE, _by_arm, _curves, _finite, _svg

__all__ = ["Request", "control_figure", "copy_figure", "learning_figure"]

_MOST_MEASURES = 6

Request = tuple[str, float, float, float]
"""Measure, lowest and highest wanted value, achieved value."""


def learning_figure(history: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """Draw bits per tile against step.

    Args:
        history: Rows of ``metrics.jsonl``: ``arm``, ``phase``, ``step`` (or ``epoch``), ``train_loss`` and
            ``validation_loss`` in bits per tile; numbers that are missing or not finite are left out.
        titles: What people read for an arm.

    Returns:
        SVG text, empty without a point.
    """
    rows = [{**row, "step": row.get("step", row.get("epoch"))} for row in history]
    arms = _by_arm(rows)
    curves = []
    for key, style, ending in (("validation_loss", "-", ""), ("train_loss", "--", ", training")):
        for arm in arms:
            points = [point for point in _finite(arms[arm], key) if isfinite(point[0])]
            if points:
                curves.append((arm, style, f"{_short(titles.get(arm, arm), 40)}{ending}", points))
    return _curves("bits", "bits per tile (dashed: in training)", arms, curves) if curves else ""


def _short(title: str, most: int) -> str:
    """Return a title that fits a legend, without letters that XML cannot hold."""
    title = "".join(letter if letter.isprintable() else "\ufffd" for letter in title[: most + 1])
    return title if len(title) <= most else f"{title[: most - 1]}…"


def _legend_columns(labels: Sequence[str]) -> int:
    return max(1, min(3, 66 // (max(map(len, labels)) + 4)))


def copy_figure(arms: Sequence[tuple[str, Sequence[tuple[int, float]]]]) -> str:
    """Draw the share of windows of n columns that stand in a training level, for every arm.

    Args:
        arms: Title and points (columns, share 0 to 1); arms without points are left out.

    Returns:
        SVG text, empty without a point.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = [(place, _short(title, 40), points) for place, (title, points) in enumerate(arms) if points]
    if not drawn:
        return ""
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 4.4), layout="constrained")
        axes = figure.subplots()
        for place, title, points in drawn:
            axes.plot(
                *zip(*sorted(points), strict=True),
                label=title if not title.startswith("_") else f" {title}",
                color=_SERIES[place % len(_SERIES)],
                marker=_MARKERS[place % len(_MARKERS)],
                linewidth=2.6 if place == 0 else 1.6,
                linestyle="-" if place < len(_SERIES) else "--",
                markersize=4.5,
            )
        columns = sorted({column for _, _, points in drawn for column, _ in points})
        axes.set_xticks(columns, [str(column) for column in columns])
        axes.set(xlabel="columns in a row", ylabel="share found in a training level", ylim=(-0.02, 1.02))
        figure.legend(loc="outside lower center", ncols=_legend_columns([title for _, title, _ in drawn]), fontsize=10)
        ends = "; ".join(f"{title}: {sorted(points)[-1][1]:.2f} of {columns[-1]} columns" for _, title, points in drawn)
        return _svg(figure, "copies", f"share of windows copied from training levels by width: {ends}")


def control_figure(requests: Sequence[Request]) -> str:
    """Draw requested against achieved values, one panel a measure; on the dashed line a request is met exactly.

    Args:
        requests: What was asked of each level and what it has; the six commonest measures are shown.

    Returns:
        SVG text, empty without a request.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = [name for name, *_ in requests]
    measures = sorted(set(names), key=lambda name: (-names.count(name), names.index(name)))[:_MOST_MEASURES]
    if not measures:
        return ""
    columns = min(3, len(measures))
    rows = -(-len(measures) // columns)
    with rc_context(_STYLE):
        figure = Figure(figsize=(3.4 * columns, 3.0 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, measure in zip(panels, measures, strict=False):
            _panel(panel, measure, [request[1:] for request in requests if request[0] == measure])
        for panel in panels[len(measures) :]:
            panel.set_visible(False)
        figure.supxlabel("requested", fontsize=11)
        figure.supylabel("achieved", fontsize=11)
        said = "; ".join(f"{measure}: {names.count(measure)} requests" for measure in measures)
        return _svg(figure, "control", f"requested against achieved values: {said}")


def _panel(panel: Any, measure: str, values: Sequence[tuple[float, float, float]]) -> None:
    ends = [end for low, high, got in values for end in (low, high, got)]
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 1.0
    span = (low - room, high + room)
    panel.plot(span, span, color=_FAINT, linewidth=1, linestyle="--")
    for low, high, got in values:
        met = low <= got <= high
        color, marker = (_SERIES[0], "o") if met else (_SERIES[1], "X")
        if high > low:
            panel.plot((low, high), (got, got), color=color, linewidth=1.4, alpha=0.7)
        panel.plot((low + high) / 2, got, marker, color=color, markersize=6, alpha=0.75, markeredgewidth=0)
    panel.set(xlim=span, ylim=span)
    panel.set_title(_short(measure, 28), fontsize=11, color=_INK)
