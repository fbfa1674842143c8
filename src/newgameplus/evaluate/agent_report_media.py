"""Frames and videos inside the agent report: shrunk to fit, and kept within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from newgameplus.evaluate.sections import text

__all__ = ["Film", "Video", "films_section"]

_BUDGET = 6_000_000
_LARGEST_SIDE = 128
_MOST_FRAMES = 8
_GAP = 3
_KINDS = {
    "video/mp4": (4, b"ftyp"),
    "video/webm": (0, b"\x1a\x45\xdf\xa3"),
    "image/gif": (0, b"GIF8"),
    "image/png": (0, b"\x89PNG"),
    "image/webp": (8, b"WEBP"),
}


@dataclass(frozen=True, eq=False)
class Film:
    """Frames of one episode.

    Attributes:
        title: What people read, such as the policy, the game and the return.
        frames: uint8 [height, width, 3] each, in order, all of one size.
    """

    title: str
    frames: Sequence[npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Video:
    """A video file, or an animated picture.

    Attributes:
        title: What people read.
        content: The file: MP4, WebM, GIF, PNG or WebP.
    """

    title: str
    content: bytes


def films_section(films: Sequence[Film], videos: Sequence[Video], budget: int = _BUDGET) -> str:
    """Return videos and strips of frames as HTML; what does not fit the budget is named without a picture.

    Args:
        films: Strips, the most telling first.
        videos: Videos; they come first.
        budget: Bytes that all may take.
    """
    left, moving, strips = budget, [], []
    for video in videos:
        kind = _kind(video.content)
        address = f"data:{kind};base64,{base64.b64encode(video.content).decode('ascii')}" if kind else ""
        fits = bool(address) and len(address) <= left
        left -= len(address) if fits else 0
        moving.append(_moving(video, kind, address if fits else ""))
    for film in films:
        address = _strip(film.frames) if len(film.frames) else ""
        fits = bool(address) and len(address) <= left
        left -= len(address) if fits else 0
        strips.append(_still(film, address if fits else ""))
    if not moving and not strips:
        return ""
    shown = f'<div class="videos">{"".join(moving)}</div>' if moving else ""
    shown += f'<div class="films">{"".join(strips)}</div>' if strips else ""
    return f"""<section class="card"><h2>What it does</h2>
<p class="lead">Frames of an episode from left to right, evenly in time.</p>{shown}</section>"""


def _kind(content: bytes) -> str:
    """Return what a file is by its first bytes; empty if no browser would show it."""
    return next((kind for kind, (at, mark) in _KINDS.items() if content[at : at + len(mark)] == mark), "")


def _moving(video: Video, kind: str, address: str) -> str:
    title = text(video.title)
    if not address:
        why = f"{len(video.content) / 1e6:.1f} MB, too large for this page" if kind else "no kind of video known here"
        return f"<figure><figcaption>{title}<small>{why}</small></figcaption></figure>"
    if kind.startswith("video/"):
        shown = f'<video controls="" loop="" muted="" playsinline="" src="{address}" aria-label="{title}"></video>'
    else:
        shown = f'<img src="{address}" alt="{title}">'
    return f"<figure>{shown}<figcaption>{title}</figcaption></figure>"


def _still(film: Film, address: str) -> str:
    title = text(film.title)
    shown = f'<img src="{address}" alt="frames of {title}">' if address else "<small>no room for its frames</small>"
    return f"<figure>{shown}<figcaption>{title}</figcaption></figure>"


def _strip(frames: Sequence[npt.NDArray[np.uint8]]) -> str:
    """Draw frames side by side; of many, some are taken, evenly in time."""
    places = np.linspace(0, len(frames) - 1, min(len(frames), _MOST_FRAMES)).round().astype(int)
    pictures = [Image.fromarray(np.ascontiguousarray(frames[place][..., :3])) for place in places]
    width, height = pictures[0].size
    scale = _LARGEST_SIDE / max(width, height)
    # Small frames of pixel games grow by whole factors, so that each pixel stays a square.
    scale = float(max(1, int(scale))) if scale > 1 else scale
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    strip = Image.new("RGB", ((size[0] + _GAP) * len(pictures) - _GAP, size[1]), "gray")
    for place, picture in enumerate(pictures):
        strip.paste(picture.resize(size, how), (place * (size[0] + _GAP), 0))
    content = io.BytesIO()
    strip.quantize(256, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")
