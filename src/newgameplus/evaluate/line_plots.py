"""Line plots: the channels of one sequence over time as one small picture, so that a person sees what the model saw."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

__all__ = ["line_plot"]

Floats = npt.NDArray[np.float32]
_MOST_CHANNELS = 6
_ROW = 22
_WIDTH = 300
_NAMES = 96
_COLOURS = ("#4269d0", "#d97706", "#c0392b", "#2a9d8f", "#8e44ad", "#6b7280")


def line_plot(sequence: Floats, names: Sequence[str] = ()) -> str:
    """Draw the channels that move most, one below the other, each at its own scale.

    Args:
        sequence: float32 [steps, channels + 1]; the last channel is a mask of 1 where there is something.
        names: Names of the channels.

    Returns:
        The picture (SVG) as a ``data:image/svg+xml`` address.
    """
    values = sequence[sequence[:, -1] > 0, :-1]
    shown = _liveliest(values)
    height = _ROW * max(len(shown), 1)
    rows = "".join(_row(values[:, channel], place, channel, names) for place, channel in enumerate(shown))
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>{rows}</svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode("ascii")


def _liveliest(values: Floats) -> list[int]:
    """Return the channels with most movement for their size, in their own order."""
    if len(values) < 2:
        return list(range(min(_MOST_CHANNELS, values.shape[1])))
    spread = values.std(axis=0) / (1e-6 + np.abs(values).max(axis=0))
    return sorted(np.argsort(-spread, kind="stable")[:_MOST_CHANNELS].tolist())


def _row(line: Floats, place: int, channel: int, names: Sequence[str]) -> str:
    low, high = (float(line.min()), float(line.max())) if len(line) else (0.0, 0.0)
    heights = 0.5 if high <= low else (line - low) / (high - low)
    x = np.linspace(_NAMES, _WIDTH - 3, len(line))
    y = _ROW * (place + 1) - 3 - np.broadcast_to(heights, line.shape) * (_ROW - 6)
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(x, y, strict=True))
    name = escape(str(names[channel]) if channel < len(names) else f"c{channel}")[:16]
    colour = _COLOURS[place % len(_COLOURS)]
    return (
        f'<text x="2" y="{_ROW * place + 15}" font-family="sans-serif" font-size="10" fill="#444">{name}</text>'
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
    )
