"""Figures of the agent report as SVG text: learning curves, returns of episodes, profiles, strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from newgameplus.evaluate.agent_words import steps_text
from newgameplus.evaluate.figures import _FAINT, _INK, _MARKERS, _SERIES, _STYLE, _svg
from newgameplus.evaluate.scene_report_figures import _legend_columns, _short

__all__ = ["band_curves", "profile_figure", "returns_figure", "strength_figure"]

_MOST_DOTS = 120

Row = Mapping[str, Any]
Band = Mapping[str, Sequence[float]]


def _label(title: str) -> str:
    """Return a title for a legend; matplotlib leaves those with "_" in front out."""
    short = _short(title, 40)
    return short if not short.startswith("_") else f" {short}"


def _series(place: int) -> dict[str, Any]:
    dashed = "-" if place < len(_SERIES) else "--"
    return {"color": _SERIES[place % len(_SERIES)], "linestyle": dashed, "linewidth": 2.4 if place == 0 else 1.6}


def band_curves(
    name: str, label: str, curves: Sequence[tuple[str, Sequence[Row]]], flat: Sequence[tuple[str, float]] = ()
) -> str:
    """Draw what every arm reached while it learned, with its intervals as bands.

    Args:
        name: Of the figure, unlike that of any other on the page.
        label: Of the vertical axis.
        curves: Title and points ``{"steps", "value", "low", "high"}`` of each arm; those without points are left out,
            and keep their color free.
        flat: Title and height of arms that learn nothing, drawn as dashed lines.

    Returns:
        SVG text, empty without a point.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = [(place, _label(title), points) for place, (title, points) in enumerate(curves) if points]
    if not drawn:
        return ""
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for place, title, points in drawn:
            steps, *ends = ([point[key] for point in points] for key in ("steps", "value", "low", "high"))
            look = _series(place)
            axes.fill_between(steps, ends[1], ends[2], color=look["color"], alpha=0.16, linewidth=0)
            marks: dict[str, Any] = {
                "marker": _MARKERS[place % len(_MARKERS)],
                "markersize": 4,
                "markevery": max(1, len(points) // 8),
            }
            axes.plot(steps, ends[0], label=title, **look, **marks)
        for title, height in flat:
            axes.axhline(height, color=_FAINT, linewidth=1.2, linestyle="--")
            axes.annotate(
                _short(title, 24), (1, height), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                textcoords="offset points", ha="right", fontsize=9,
            )  # fmt: skip
        axes.set(xlabel="steps of the game", ylabel=label)
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=6)
        axes.xaxis.set_major_formatter(lambda value, _: steps_text(round(value)) if value >= 1 else "0")
        figure.legend(loc="outside lower center", ncols=_legend_columns([title for _, title, _ in drawn]), fontsize=10)
        said = "; ".join(f"{title} ends at {points[-1]['value']:.3g}" for _, title, points in drawn)
        return _svg(figure, name, f"{label} against steps: {said}")


def returns_figure(name: str, arms: Sequence[tuple[str, Row]]) -> str:
    """Draw the return of every episode as a dot, with each arm's interquartile mean and interval as a bar.

    Args:
        name: Of the figure.
        arms: Title and the row of one game (see :mod:`newgameplus.evaluate.agent_evaluation`), the first on top.

    Returns:
        SVG text, empty without an arm.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if not arms:
        return ""
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 1.0 + 0.5 * len(arms)), layout="constrained")
        axes = figure.subplots()
        for place, (_, row) in enumerate(arms):
            totals = np.sort(np.asarray(row["totals"], np.float64))
            if len(totals) > _MOST_DOTS:
                totals = totals[np.linspace(0, len(totals) - 1, _MOST_DOTS).round().astype(int)]
            heights = place + _spread(totals)
            axes.plot(totals, heights, "o", color=_SERIES[place % len(_SERIES)], ms=4, alpha=0.45, mew=0)
            middle = row["iqm"]
            axes.plot([middle["low"], middle["high"]], [place, place], color=_INK, linewidth=3, solid_capstyle="butt")
            axes.plot(middle["value"], place, "D", color=_INK, ms=5)
        axes.set_yticks(range(len(arms)), [_short(title, 24) for title, _ in arms])
        axes.set(xlabel="return of an episode", ylim=(len(arms) - 0.5, -0.5))
        said = "; ".join(f"{_short(title, 40)}: {row['iqm']['value']:.3g}" for title, row in arms)
        return _svg(figure, name, f"returns of single episodes; interquartile means: {said}")


def _spread(totals: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return offsets that set dots of nearly equal returns apart, the most where the most are, and always the same."""
    width = float(totals[-1] - totals[0]) or 1.0
    bins = ((totals - totals[0]) / width * 40).astype(int)
    counts = np.bincount(bins)
    order = np.array([(bins[:place] == bins[place]).sum() for place in range(len(bins))])
    reach = 0.34 * np.sqrt(counts[bins] / counts.max())
    offsets: np.ndarray[Any, np.dtype[np.float64]] = reach * (2 * ((order * 0.6180339887 + 0.5) % 1) - 1)
    return np.where(counts[bins] > 1, offsets, 0.0)


def profile_figure(name: str, thresholds: Sequence[float], arms: Sequence[tuple[int, str, Band]]) -> str:
    """Draw the share of episodes above each return, with intervals as bands.

    Args:
        name: Of the figure.
        thresholds: Returns.
        arms: Place (for the color), title and ``{"value", "low", "high"}`` of each arm.

    Returns:
        SVG text, empty without an arm.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if not arms:
        return ""
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.9), layout="constrained")
        axes = figure.subplots()
        for place, title, band in arms:
            look = _series(place)
            axes.fill_between(thresholds, band["low"], band["high"], color=look["color"], alpha=0.14, linewidth=0)
            axes.plot(thresholds, band["value"], label=_label(title), **look)
        axes.set(xlabel="return", ylabel="share of episodes above it", ylim=(-0.02, 1.02))
        figure.legend(loc="outside lower center", ncols=_legend_columns([title for _, title, _ in arms]), fontsize=10)
        middle = len(thresholds) // 2
        said = "; ".join(f"{_short(title, 40)}: {band['value'][middle]:.2f}" for _, title, band in arms)
        return _svg(figure, name, f"share of episodes with a return above {thresholds[middle]:.3g}: {said}")


def strength_figure(strength: Row) -> str:
    """Draw wanted levels against the strength that their settings have; on the dashed line they agree.

    Args:
        strength: As :meth:`newgameplus.evaluate.strength.StrengthCurve.table` gives it.

    Returns:
        SVG text, empty without a level.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = strength.get("levels") or []
    if not rows:
        return ""
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle="--")
        for row in rows:
            color, marker = (_SERIES[0], "o") if row["reached"] else (_SERIES[1], "X")
            axes.plot([row["level"]] * 2, [row["score"]["low"], row["score"]["high"]], color=color, linewidth=1.6)
            axes.plot(row["level"], row["score"]["value"], marker, color=color, ms=6)
        axes.set(xlabel="level asked for", ylabel="strength it has")
        said = "; ".join(f"{row['level']:.2f}: {row['score']['value']:.2f}" for row in rows)
        return _svg(figure, "strength", f"strength by level: {said}")
