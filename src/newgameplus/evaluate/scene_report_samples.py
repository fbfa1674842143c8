"""Levels on the page of the scene report: pictures with what was asked, what they have, and what they resemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, TypeGuard

from newgameplus.evaluate.scene_report_figures import Request
from newgameplus.evaluate.scene_report_pictures import Shrinker
from newgameplus.evaluate.sections import text

__all__ = ["SampleCard", "requests_of", "sheets"]

Kind = Literal["delivered", "raw", "worst", "training", "edit"]


@dataclass(frozen=True)
class SampleCard:
    """One level to show.

    Attributes:
        name: Name of the level.
        png: Its picture as a PNG file, such as ``games.pictures.png_bytes`` gives.
        caption: A sentence about it: for a failure the reason, and where it got stuck.
        status: ``playable``, ``unplayable``, ``undecided``, or empty.
        requested: Wanted values by measure: a number, lowest and highest, ``"2..4"``, or words.
        achieved: Values by measure.
        nearest: Name of the training level it resembles most; empty if not known.
        distance: Tiles to edit to become that level; negative if not known.
        kind: ``delivered`` to the user; ``raw``: drawn by the model, neither chosen nor repaired; ``worst``: a raw
            failure; ``training``: one of the designer's own; ``edit``: a map of which a part was made anew.
    """

    name: str
    png: bytes
    caption: str = ""
    status: str = ""
    requested: Mapping[str, Any] = field(default_factory=dict)
    achieved: Mapping[str, Any] = field(default_factory=dict)
    nearest: str = ""
    distance: int = -1
    kind: Kind = "delivered"


@dataclass(frozen=True)
class _Sheet:
    title: str
    lead: str
    most: int


_SHEETS: Mapping[str, _Sheet] = {
    "delivered": _Sheet(
        "Delivered levels",
        "Solved, and repaired or drawn again where that was needed. The line is the solver's way, from yellow at its "
        "beginning to magenta at its end.",
        24,
    ),
    "edit": _Sheet("Edited maps", "The outlined part was made anew, the rest is the designer's.", 6),
    "worst": _Sheet(
        "Where it failed",
        "Raw samples before any repair that cannot be played, then those most like a training level. The cross marks "
        "where it got stuck; what the player cannot reach is darker.",
        12,
    ),
    "raw": _Sheet("Raw samples, not chosen", "As the model drew them, the first ones, neither chosen nor repaired.", 8),
    "training": _Sheet("The designer's own levels", "A few of the levels it learned from.", 6),
}

_STATES = {
    "playable": ("good", "✓ playable"),
    "unplayable": ("bad", "✗ not playable"),
    "undecided": ("unsure", "? undecided"),
}


def sheets(samples: Sequence[SampleCard], shrinker: Shrinker) -> dict[str, str]:
    """Return one section a kind of sample; kinds without a sample are left out."""
    grouped: dict[str, list[SampleCard]] = {kind: [] for kind in _SHEETS}
    for card in samples:
        grouped[card.kind].append(card)
    return {kind: _sheet(_SHEETS[kind], cards, shrinker) for kind, cards in grouped.items() if cards}


def _sheet(sheet: _Sheet, cards: Sequence[SampleCard], shrinker: Shrinker) -> str:
    figures = "".join(_figure(card, shrinker) for card in cards[: sheet.most])
    more = f'<p class="quiet">and {len(cards) - sheet.most:,} more</p>' if len(cards) > sheet.most else ""
    return f"""<section class="card"><h2>{sheet.title}</h2>
<p class="lead">{sheet.lead}</p><div class="maps">{figures}</div>{more}</section>"""


def _figure(card: SampleCard, shrinker: Shrinker) -> str:
    shown = shrinker.show(card.png, share=0.15)
    tone, state = _STATES.get(card.status, ("", text(card.status)))
    picture = '<p class="quiet">Its picture cannot be shown here.</p>'
    if shown is not None:
        picture = (
            f'<img src="{shown.address}" width="{shown.width}" height="{shown.height}" loading="lazy" '
            f'alt="level {text(card.name)}: {state or "picture"}">'
        )
    badge = f' <span class="state {tone}">{state}</span>' if state else ""
    asked = "".join(_asked(measure, wanted, card.achieved) for measure, wanted in card.requested.items())
    near = ""
    if card.nearest:
        away = f", {card.distance:,} tiles away" if card.distance >= 0 else ""
        near = f"<small>nearest training level: {text(card.nearest)}{away}</small>"
    caption = f"<small>{text(card.caption)}</small>" if card.caption else ""
    wide = ' class="wide"' if shown is not None and shown.wide else ""
    return f"""<figure{wide}>{picture}
<figcaption><b>{text(card.name)}</b>{badge}{caption}{asked}{near}</figcaption></figure>"""


def _asked(measure: str, wanted: Any, achieved: Mapping[str, Any]) -> str:
    """Return one requested value beside what the level has."""
    got = achieved.get(measure)
    bounds = _bounds(wanted)
    met = ""
    if bounds is not None and _is_number(got):
        met = " met" if bounds[0] <= got <= bounds[1] else " missed"
    mark = {" met": " ✓", " missed": " ✗"}.get(met, "")
    said = f" \u2192 {_plain(got)}" if got is not None else ""
    return f'<span class="asked{met}">{text(measure)} {_plain(wanted)}{said}{mark}</span>'


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and isfinite(value)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if isfinite(value) else "\u2013"
    if isinstance(value, list | tuple) and len(value) == 2:
        return "..".join(_plain(part) for part in value)
    return text(value)


def _bounds(wanted: Any) -> tuple[float, float] | None:
    """Return lowest and highest wanted value; None for words."""
    if isinstance(wanted, str):
        low, dots, high = wanted.partition("..")
        try:
            wanted = (float(low), float(high if dots else low))
        except ValueError:
            return None
    if isinstance(wanted, list | tuple) and len(wanted) == 2 and all(map(_is_number, wanted)):
        return float(wanted[0]), float(wanted[1])
    return (float(wanted), float(wanted)) if _is_number(wanted) else None


def requests_of(samples: Sequence[SampleCard]) -> list[Request]:
    """Return what was asked of every sample and what it has, where both are numbers."""
    found = []
    for card in samples:
        for measure, wanted in card.requested.items():
            bounds, got = _bounds(wanted), card.achieved.get(measure)
            if bounds is not None and _is_number(got):
                found.append((measure, *bounds, float(got)))
    return found
