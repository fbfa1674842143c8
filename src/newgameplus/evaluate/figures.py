"""Figures as SVG text: learning curves and the reliability diagram, drawn by matplotlib without a display.

Colours are written as CSS variables, so that one figure suits light and dark pages; series differ by marker as well as
by colour, and the page takes its colours from Okabe and Ito's palette, which colour-blind people can tell apart. The
same data give the same text.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

__all__ = ["learning_curves", "reliability_diagram"]

# Matplotlib needs real colours; these stand in for CSS variables and are swapped in the text.
_INK, _FAINT = "#0a0b01", "#0a0b02"
_SERIES = ["#0a0c01", "#0a0c02", "#0a0c03", "#0a0c04", "#0a0c05", "#0a0c06"]
_VARIABLES = {_INK: "var(--ink)", _FAINT: "var(--faint)"} | {
    colour: f"var(--series-{index})" for index, colour in enumerate(_SERIES, 1)
}
_MARKERS = ["o", "s", "^", "D", "v", "P"]
_STYLE = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "newgameplus",
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
}


def _svg(figure: Any, name: str, description: str) -> str:
    """Write a figure as SVG text with its own ids, CSS colours and a description for screen readers."""
    from html import escape

    content = io.StringIO()
    with warnings.catch_warnings():
        # Letters that matplotlib's own font lacks only make its guess of a width rough: the browser draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    text = content.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    start = text.index(">") + 1
    opening = text[: start - 1] + f' role="img" aria-labelledby="{name}-title">'
    return f'{opening}<title id="{name}-title">{escape(description)}</title>{text[start:].strip()}'


def _finite(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    """Return (step, value) where both are finite numbers."""
    points = [(row.get("step"), row.get(key)) for row in rows]
    return [
        (float(step), float(value))
        for step, value in points
        if isinstance(step, int | float) and isinstance(value, int | float) and isfinite(value)
    ]


def _phases(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, str]]:
    """Return the step where each phase begins, with its name; nothing if there is a single phase."""
    starts: list[tuple[float, str]] = []
    last_step = 0.0
    for row in rows:
        phase = str(row.get("phase") or "")
        if not starts or starts[-1][1] != phase:
            starts.append((last_step, phase))
        last_step = float(row.get("step") or last_step)
    return starts if len(starts) > 1 else []


def _by_arm(history: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows of each arm, the fine-tuned model's first, so that it always has the same colour."""
    arms: dict[str, list[Mapping[str, Any]]] = {"fine-tuned": []}
    for row in history:
        arms.setdefault(str(row.get("arm") or "fine-tuned"), []).append(row)
    return arms


def _mark_phases(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    for step, phase in _phases(rows):
        if step > 0:
            axes.axvline(step, color=_FAINT, linewidth=1, linestyle=":")
        axes.annotate(
            phase, (step, 1), xycoords=("data", "axes fraction"), xytext=(3, 2), textcoords="offset points", fontsize=9
        )


def learning_curves(
    history: Sequence[Mapping[str, Any]], arm_titles: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Draw what the runs did while they learned.

    Args:
        history: Rows of ``metrics.jsonl``: ``step``, ``validation_accuracy``, ``validation_loss``, ``train_loss``,
            ``phase``, ``arm``. Numbers that are missing or not finite are left out.
        arm_titles: What people read for an arm.

    Returns:
        SVG text under ``accuracy`` and ``loss``; a figure without a point is left out.
    """
    arms = _by_arm(history)
    named = {arm: (arm_titles or {}).get(arm, arm) for arm in arms}
    titles = {"accuracy": "validation accuracy", "loss": "loss (dashed: in training)"}
    drawn = {
        "accuracy": [(arm, "validation_accuracy", "-", named[arm]) for arm in arms],
        "loss": [(arm, "validation_loss", "-", named[arm]) for arm in arms]
        + [(arm, "train_loss", "--", f"{named[arm]}, training") for arm in arms],
    }
    figures: dict[str, str] = {}
    for name, lines in drawn.items():
        curves = [
            (arm, style, title, points) for arm, key, style, title in lines if (points := _finite(arms[arm], key))
        ]
        if curves:
            figures[name] = _curves(name, titles[name], arms, curves)
    return figures


def _curves(
    name: str,
    title: str,
    arms: Mapping[str, Sequence[Mapping[str, Any]]],
    curves: Sequence[tuple[str, str, str, Sequence[tuple[float, float]]]],
) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    order = list(arms)
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.7), layout="constrained")
        axes = figure.subplots()
        solid = {arm for arm, style, _, _ in curves if style == "-"}
        for arm, style, label, points in curves:
            hidden = style == "--" and arm in solid  # matplotlib leaves labels with "_" in front out of the legend
            place = order.index(arm) % len(_SERIES)
            axes.plot(
                *zip(*points, strict=True),
                label=f"_{label}" if hidden else label,
                color=_SERIES[place],
                linestyle=style,
                linewidth=2 if style == "-" else 1.2,
                marker=_MARKERS[place] if style == "-" else None,
                markersize=4,
                markevery=max(1, len(points) // 12),
            )
        axes.set_xlabel("step")
        axes.set_ylabel(title)
        axes.set_xlim(left=0)
        if name == "accuracy":
            axes.set_ylim(0, 1.02)
        _mark_phases(axes, arms.get("fine-tuned", []))
        longest = max(len(label) for arm, style, label, _ in curves if style == "-" or arm not in solid)
        figure.legend(loc="outside lower center", ncols=max(1, min(3, 60 // (longest + 4))), fontsize=10)
        ends = "; ".join(f"{label} ends at {points[-1][1]:.3g}" for _, _, label, points in curves)
        return _svg(figure, f"curves-{name}", f"{title} against step: {ends}")


def reliability_diagram(bins: Sequence[Mapping[str, float]]) -> str:
    """Draw confidence against accuracy; a well calibrated model lies on the diagonal.

    Args:
        bins: As ``metrics.reliability`` gives them.

    Returns:
        SVG text.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    filled = [row for row in bins if row["clips"]]
    middles = [(row["low"] + row["high"]) / 2 for row in filled]
    width = 0.9 / max(len(bins), 1)
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.7), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.bar(middles, [row["accuracy"] for row in filled], width, color=_SERIES[0], alpha=0.8)
        upper.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle="--")
        upper.plot([row["confidence"] for row in filled], [row["accuracy"] for row in filled], "o", color=_INK, ms=4)
        upper.set(ylabel="share right", ylim=(0, 1.02), xlim=(0, 1))
        lower.bar(middles, [row["clips"] for row in filled], width, color=_FAINT)
        lower.set(ylabel="clips", xlabel="confidence")
        parts = "; ".join(
            f"confidence {row['confidence']:.2f}: {row['accuracy']:.2f} right of {row['clips']}" for row in filled
        )
        return _svg(figure, "reliability", f"share of right answers by confidence: {parts}")
