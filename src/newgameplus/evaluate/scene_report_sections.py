"""The parts of the scene report as HTML: verdict, tables of arms, copies, control, style, tile mapping.

Any number of an evaluation may be missing (None, or not finite); it is then written as a dash. Every text that comes
from a user goes through ``text``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from newgameplus.evaluate.scene_report_figures import Request, control_figure, copy_figure, learning_figure
from newgameplus.evaluate.sections import _without_opening, text

__all__ = ["control", "copies", "delivery_table", "learning", "raw_table", "style", "tile_mapping", "verdict_card"]

Row = Mapping[str, Any]

_BADGES = {
    "helped": ("helped", "▲ Fine-tuning helped"),
    "worse": ("hurt", "▼ Fine-tuning made it worse"),
    "hurt": ("hurt", "▼ Fine-tuning made it worse"),
    "no gain": ("no-gain", "= No gain"),
    "undecided": ("undecided", "? Too little data to tell"),
}
_DASH = "\u2013"
_MOST_TILES = 200


def _find(row: Any, *keys: str) -> Any:
    """Return a nested entry, None where any part of the way is missing."""
    for key in keys:
        row = row.get(key) if isinstance(row, Mapping) else None
    return row


def _value(entry: Any) -> float | None:
    """Return the number of an entry: plain, or with an interval; None if missing or not finite."""
    entry = entry.get("value") if isinstance(entry, Mapping) else entry
    return float(entry) if isinstance(entry, int | float) and isfinite(entry) else None


def _number(entry: Any, digits: int = 2) -> str:
    value = _value(entry)
    return _DASH if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def _span(entry: Any, digits: int = 2) -> str:
    low, high = _value(_find(entry, "low")), _value(_find(entry, "high"))
    return "" if low is None or high is None else f"({_number(low, digits)} to {_number(high, digits)})"


def _cell(entry: Any, digits: int = 2) -> str:
    span = _span(entry, digits)
    return _number(entry, digits) + (f" <small>{span}</small>" if span else "")


def _count(entry: Any) -> str:
    value = _value(entry)
    return _DASH if value is None else f"{value:,.0f}"


def _seconds(entry: Any) -> str:
    value = _value(entry)
    if value is None:
        return _DASH
    if value < 90:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5_400 else f"{value / 3600:.1f} h"


def _arms(evaluation: Row) -> Sequence[Row]:
    return evaluation.get("arms") or []


def _ours(evaluation: Row) -> Row:
    """Return the fine-tuned arm, an empty one if it did not run."""
    return next((row for row in _arms(evaluation) if row.get("kind") == "fine-tuned"), {})


def _title(row: Row) -> str:
    return text(row.get("title") or row.get("name") or "")


def _level(evaluation: Row) -> str:
    return f"{100 * (_value(evaluation.get('confidence')) or 0.95):g} %"


def _table(label: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return f"""<div class="scroll" tabindex="0"><table class="plain" aria-label="{label}"><thead><tr>{cells}</tr>
</thead><tbody>{"".join(rows)}</tbody></table></div>"""


def _line(row: Row, cells: Sequence[str]) -> str:
    kind = {"fine-tuned": ' class="reference"', "reference": ' class="measured-against"'}.get(str(row.get("kind")), "")
    return f'<tr{kind}><th scope="row">{_title(row)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def verdict_card(evaluation: Row) -> str:
    """Return the verdict in words, a bar for every arm, and the headline figures."""
    verdict = evaluation.get("verdict") or {}
    tone, badge = _BADGES.get(str(verdict.get("outcome")), ("undecided", "? No verdict"))
    notes = "".join(f'<p class="caution">{text(note)}</p>' for note in evaluation.get("notes") or [])
    rungs = "".join(_rung(row) for row in _arms(evaluation))
    ladder = ""
    if rungs:
        samples = _count(evaluation.get("samples"))
        ladder = f"""<div class="ladder" role="list" aria-label="good levels of every arm">{rungs}</div>
<p class="quiet">Bar: share of {samples} raw samples that can be played, are new and whole, from 0 to 1, before
any repair; the paler bar behind it: that can be played at all. Thin line: {_level(evaluation)} interval.</p>"""
    return f"""<section class="card verdict {tone}" aria-label="verdict">
<p class="outcome">{badge}</p>
<p class="sentence">{text(_without_opening(str(verdict.get("sentence") or "")))}</p>
{ladder}{_facts(evaluation)}{notes}</section>"""


def _percent(value: float | None) -> float:
    return 100 * min(1.0, max(0.0, value or 0.0))


def _rung(row: Row) -> str:
    good, playable = _find(row, "raw", "good"), _find(row, "raw", "playable")
    low, high = _value(_find(good, "low")), _value(_find(good, "high"))
    whisker = ""
    if low is not None and high is not None:
        width = max(0.0, _percent(high) - _percent(low))
        whisker = f'<span class="whisker" style="left:{_percent(low):.2f}%;width:{width:.2f}%"></span>'
    reference = " reference" if row.get("kind") == "fine-tuned" else ""
    told = f"{_number(good)} {_span(good)}".strip()
    whole = f"playable {_number(playable)}, new and whole too {told}"
    return f"""<div class="rung{reference}" role="listitem" title="{whole}">
<span class="name">{_title(row)}</span>
<span class="track" aria-hidden="true"><span class="pale" style="width:{_percent(_value(playable)):.2f}%"></span>
<span class="fill" style="width:{_percent(_value(good)):.2f}%"></span>{whisker}</span>
<span class="number">{told}</span></div>"""


def _facts(evaluation: Row) -> str:
    """Return the figures that a designer asks for first, of the fine-tuned model."""
    ours = _ours(evaluation)
    given, control_ = ours.get("delivered") or {}, ours.get("control") or {}
    facts = []
    if given:
        facts.append(("delivered, all solved", f"{_count(given.get('delivered'))} of {_count(given.get('asked'))}", ""))
        facts.append(("time for a delivered level", _seconds(given.get("seconds_per_level")), ""))
        facts.append(("samples for a delivered level", _number(given.get("samples_per_level")), ""))
    facts.append(("raw samples that can be played", _number(_find(ours, "raw", "playable")),
                  _span(_find(ours, "raw", "playable"))))  # fmt: skip
    copied = _value(_find(ours, "raw", "copied", "16"))
    if copied is not None:
        facts.append(("16 columns in a row copied", f"{100 * copied:.1f} %", ""))
    if control_:
        facts.append(("requests met exactly", _number(control_.get("met_exactly")), _span(control_.get("met_exactly"))))
    shown = [(name, value, small) for name, value, small in facts if value != _DASH]
    items = "".join(f"<div><dt>{n}</dt><dd>{v} <small>{s}</small></dd></div>" for n, v, s in shown)
    return f'<dl class="facts">{items}</dl>' if items else ""


def raw_table(evaluation: Row) -> str:
    """Return the table of all arms on raw samples."""
    arms = _arms(evaluation)
    if not arms:
        return ""
    played = ["", "playable", "playable and new", "flawed", "undecided", "bits a tile", "time a level"]
    new = ["", "new", "tiles to the nearest", "16 columns copied", "diversity", "tiles between levels",
           "KL 2x2", "KL 3x3", "KL 4x4"]  # fmt: skip
    notes = "".join(f"<li>{_title(row)}: {text(row['note'])}</li>" for row in arms if row.get("note"))
    levels = evaluation.get("training_levels") or {}
    return f"""<section class="card"><h2>What it had to beat</h2>
<p class="lead">Raw samples of every arm, before any repair, under the rules
<b>{text(evaluation.get("rules") or "of the recipe")}</b>; {_count(levels.get("count"))} training levels
{_sizes(levels)}, {_count(evaluation.get("held_out"))} held out. {_level(evaluation)} intervals.</p>
{_table("all arms: can they be played", played, [_line(row, _played_cells(row)) for row in arms])}
<h3>New, varied, and in style</h3>
{_table("all arms: new, varied, in style", new, [_line(row, _style_cells(row)) for row in arms])}
{f"<ul class='errors quiet'>{notes}</ul>" if notes else ""}
<details><summary>What the columns say</summary><ul class="errors quiet">
<li>playable: the solver found a way, and an independent replay of it holds. Undecided: its budget ended first.</li>
<li>new: at least 5 tiles to edit from every training level. Flawed: a broken structure, such as half a pipe.</li>
<li>tiles to the nearest: tiles to edit to become the nearest training level; between levels: between two samples.</li>
<li>16 columns copied: share of all windows of 16 columns that stand in a training level just so. Lower is newer.</li>
<li>diversity: share of the samples in the largest set of which all differ by at least 5 tiles.</li>
<li>KL: how far the tile patterns are from those of the training levels. Lower is more alike.</li>
<li>bits a tile: how surprised the model is by held-out levels. Lower is better.</li></ul></details></section>"""


def _sizes(levels: Row) -> str:
    parts = []
    for name, key in (("high", "heights"), ("wide", "widths")):
        ends = levels.get(key) or []
        if len(ends) == 2 and None not in ends:
            parts.append(f"{_count(ends[0])} {name}" if ends[0] == ends[1]
                         else f"{_count(ends[0])} to {_count(ends[1])} {name}")  # fmt: skip
    return f"({text(', '.join(parts))})" if parts else ""


def _played_cells(row: Row) -> list[str]:
    raw = row.get("raw") or {}
    cells = [_cell(raw.get(key)) for key in ("playable", "playable_and_novel", "flawed")]
    return [
        *cells,
        _number(raw.get("undecided")),
        _cell(row.get("bits_per_tile"), 3),
        _seconds(raw.get("seconds_per_level")),
    ]


def _style_cells(row: Row) -> list[str]:
    raw = row.get("raw") or {}
    cells = [_number(_find(raw, "novelty", "novel")), _number(_find(raw, "novelty", "mean_distance"), 1)]
    cells += [
        _number(_find(raw, "copied", "16"), 3),
        _number(raw.get("diversity")),
        _number(raw.get("mean_distance"), 1),
    ]
    return cells + [_number(_find(raw, "divergence", size), 3) for size in ("2x2", "3x3", "4x4")]


def delivery_table(evaluation: Row) -> str:
    """Return what delivering took, for every arm that delivered, and what training took."""
    rows = []
    for row in _arms(evaluation):
        given, trained = row.get("delivered"), row.get("training")
        if not given and not trained:
            continue
        cells = [f"{_count(_find(given, 'delivered'))} of {_count(_find(given, 'asked'))}" if given else _DASH]
        cells += [_count(_find(given, key)) for key in ("samples", "repairs")]
        cells += [_number(_find(given, "samples_per_level")), _seconds(_find(given, "seconds_per_level"))]
        cells += [_seconds(_find(trained, "seconds"))]
        cells += [_count(_find(trained, key)) for key in ("steps", "trainable_parameters")]
        rows.append(_line(row, cells))
    if not rows:
        return ""
    heads = ["", "delivered", "samples", "repairs", "samples a level", "time a level", "training", "steps",
             "trained weights"]  # fmt: skip
    return f"""<section class="card"><h2>What delivering took</h2>
<p class="lead">Every delivered level was verified; failures were repaired or drawn again until the number was there or
the budget ended.</p>{_table("delivered levels", heads, rows)}</section>"""


def copies(evaluation: Row) -> str:
    """Return how much was copied from the training levels, by window width."""
    curves = [(row, _copied(row)) for row in _arms(evaluation)]
    figure = copy_figure([(str(row.get("title") or row.get("name") or ""), points) for row, points in curves])
    if not figure:
        return ""
    widths = sorted({columns for _, points in curves for columns, _ in points})
    some = [columns for columns in (1, 4, 8, 16) if columns in widths] or widths[:4]
    rows = [_line(row, [_number(dict(points).get(columns), 3) for columns in some]) for row, points in curves if points]
    heads = ["columns in a row", *map(str, some)]
    return f"""<section class="card"><h2>How much is copied</h2>
<div class="columns"><div><p class="lead">Of all windows of n neighboring columns in the raw samples, the share that
stands in a training level just so. Single columns repeat in every game of its kind; many in a row are a copy.</p>
{_table("copied windows", heads, rows)}</div>
<figure class="figure">{figure}</figure></div></section>"""


def _copied(row: Row) -> list[tuple[int, float]]:
    """Return (columns, share copied) of an arm, in order."""
    shares = _find(row, "raw", "copied") or {}
    known = [(int(n), _value(entry)) for n, entry in shares.items() if str(n).isdecimal() and len(str(n)) < 6]
    return sorted((columns, share) for columns, share in known if share is not None)


def control(evaluation: Row, requests: Sequence[Request]) -> str:
    """Return requested against achieved values, by arm and by measure."""
    arms = [row for row in _arms(evaluation) if row.get("control")]
    if not arms and not requests:
        return ""
    parts = []
    if arms:
        rows = [
            _line(row, [_count(row["control"].get("requests")), _cell(row["control"].get("met_exactly")),
                        _number(row["control"].get("mean_error")), _cell(row["control"].get("playable"))])
            for row in arms
        ]  # fmt: skip
        parts.append(_table("control by arm", ["", "requests", "met exactly", "mean error", "still playable"], rows))
    if requests:
        names = list(dict.fromkeys(name for name, *_ in requests))
        rows = [_measure_row(name, [request[1:] for request in requests if request[0] == name]) for name in names]
        parts.append(_table("control by measure", ["measure", "levels shown", "met exactly", "mean error"], rows))
        parts.append(f'<figure class="figure">{control_figure(requests)}</figure>')
    return f"""<section class="card"><h2>Does it do what is asked?</h2>
<p class="lead">Requested against achieved values. On the dashed line a request is met exactly; a bar spans a requested
range; a cross missed it.</p>{"".join(parts)}</section>"""


def _measure_row(name: str, values: Sequence[tuple[float, float, float]]) -> str:
    errors = [max(low - got, got - high, 0.0) for low, high, got in values]
    met = sum(error == 0 for error in errors) / len(errors)
    cells = [f"{len(values):,}", _number(met), _number(sum(errors) / len(errors))]
    return f'<tr><th scope="row">{text(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def style(evaluation: Row) -> str:
    """Return the mean of every measure beside that of the training levels."""
    arms = [row for row in _arms(evaluation) if _find(row, "raw", "measures")]
    if not arms:
        return ""
    names = list(dict.fromkeys(name for row in arms for name in row["raw"]["measures"]))
    rows = []
    for name in names:
        told = [_find(row, "raw", "measures", name) for row in arms]
        means = [_find(entry, "training_mean") for entry in told]
        own = next((mean for mean in means if _value(mean) is not None), None)
        cells = [_number(own), *(_number(_find(entry, "mean")) for entry in told)]
        rows.append(f'<tr><th scope="row">{text(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    heads = ["mean a level", "training levels", *(_title(row) for row in arms)]
    return f"""<section class="card"><h2>Is it the same kind of level?</h2>
<p class="lead">Means over all raw samples, beside the designer's own levels.</p>
{_table("measures", heads, rows)}</section>"""


def learning(evaluation: Row, history: Sequence[Row]) -> str:
    """Return the learning curves; nothing when there is no history."""
    titles = {str(row.get("name")): str(row.get("title") or row.get("name")) for row in _arms(evaluation)}
    figure = learning_figure(history, titles)
    if not figure:
        return ""
    return f"""<section class="card"><h2>How it learned</h2>
<p class="lead">Bits a tile on held-out levels; dotted lines mark where a phase of the fine-tuning begins.</p>
<figure class="figure narrow">{figure}</figure></section>"""


def tile_mapping(tiles: Sequence[Row]) -> str:
    """Return from which pretrained tile each tile of this game started."""
    if not tiles:
        return ""
    rows = []
    for tile in tiles[:_MOST_TILES]:
        meanings = text(", ".join(map(str, tile.get("meanings") or [])) or _DASH)
        alike = _value(tile.get("similarity"))
        meter = f'<span class="meter" aria-hidden="true"><i style="width:{_percent(alike):.0f}%"></i></span>'
        rows.append(
            f'<tr><th scope="row">{text(tile.get("name", ""))}</th><td class="words">{meanings}</td>'
            f'<td class="words">{text(tile.get("from") or _DASH)}</td>'
            f"<td>{'' if alike is None else meter}{_number(alike)}</td></tr>"
        )
    more = f'<p class="quiet">and {len(tiles) - _MOST_TILES:,} more</p>' if len(tiles) > _MOST_TILES else ""
    heads = ["tile", "means", "started from", "similarity"]
    return f"""<section class="card"><h2>Where its tiles come from</h2>
<p class="lead">Each tile of this game began as the pretrained tile that means the most alike. A wrong meaning is worth
correcting in the recipe.</p>{_table("tile mapping", heads, rows)}{more}</section>"""
