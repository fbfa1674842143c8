"""The parts of the agent report as HTML: verdict, tables of games, what was forgotten, learning, retention, surgery.

Every text that comes from a user goes through ``text``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from newgameplus.evaluate.agent_forgetting import KEPT
from newgameplus.evaluate.agent_report_figures import band_curves, profile_figure, returns_figure, strength_figure
from newgameplus.evaluate.agent_words import (
    percent,
    percent_span,
    score,
    score_signed,
    score_span,
    score_with_span,
    steps_text,
)
from newgameplus.evaluate.sections import _duration, _without_opening, text
from newgameplus.evaluate.verdict import number

__all__ = ["forgetting", "games", "learning", "retention", "spread", "strength", "surgery", "verdict_card"]

Row = Mapping[str, Any]

_BADGES = {
    "helped": "▲ Fine-tuning helped",
    "hurt": "▼ Fine-tuning hurt",
    "no gain": "= No gain",
    "undecided": "? Too little data to tell",
}
_MEMORIES = {"kept": ("kept", "old skill kept"), "forgot": ("forgot", "old skill forgotten")}
_DASH = "\u2013"


def _level(evaluation: Row) -> str:
    return f"{100 * evaluation['level']:g} %"


def _table(label: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return f"""<div class="scroll" tabindex="0"><table class="plain" aria-label="{label}"><thead><tr>{cells}</tr>
</thead><tbody>{"".join(rows)}</tbody></table></div>"""


def _line(title: str, cells: Sequence[str], kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f'<tr{mark}><th scope="row">{text(title)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _small(whole: str) -> str:
    """Set what stands in brackets below the number."""
    head, bracket, rest = whole.partition(" (")
    return f"{text(head)} <small>({text(rest)}</small>" if bracket else text(head)


def verdict_card(evaluation: Row) -> str:
    """Return the verdict with a bar for every arm on the new game."""
    verdict, game = evaluation["verdict"], evaluation["game"]
    badge = _BADGES[verdict["outcome"]] if verdict["against"] else "? No verdict"
    memory = ""
    if verdict["memory"] in _MEMORIES:
        tone, words = _MEMORIES[verdict["memory"]]
        memory = f' <span class="memory {tone}">{words}</span>'
    cautions = "".join(f'<p class="caution">{text(caution)}</p>' for caution in evaluation["cautions"])
    rows = [(row["title"], row["games"][game]["mean"], row["name"]) for row in evaluation["arms"]]
    if game in evaluation["random"]:
        rows.append(("at random", evaluation["random"][game]["mean"], ""))
    low = min(0.0, *(mean["low"] for _, mean, _ in rows))
    high = max(0.0, *(mean["high"] for _, mean, _ in rows))
    rungs = "".join(_rung(*row, low, high, evaluation["reference"]) for row in rows)
    episodes = max(row["games"][game]["episodes"] for row in evaluation["arms"])
    return f"""<section class="card verdict {text(verdict["outcome"].replace(" ", "-"))}" aria-label="verdict">
<p class="outcome">{badge}{memory}</p>
<p class="sentence">{text(_without_opening(verdict["sentence"]))}</p>
{cautions}<div class="ladder" role="list" aria-label="return of every arm">{rungs}</div>
<p class="quiet">Bar: mean return on {text(game)}, from {score(low)} to {score(high)}, over {episodes:,}
{"episode" if episodes == 1 else "episodes"}. Thin line: {_level(evaluation)} interval.</p></section>"""


def _rung(title: str, mean: Row, name: str, low: float, high: float, reference: str | None) -> str:
    width = (high - low) or 1.0
    zero = (0.0 - low) / width
    places = {key: min(1.0, max(0.0, (mean[key] - low) / width)) for key in ("value", "low", "high")}
    start, end = sorted((zero, places["value"]))
    mark = " reference" if name and name == reference else ""
    fill = f"left:{100 * start:.2f}%;width:{100 * (end - start):.2f}%"
    whisker = f"left:{100 * places['low']:.2f}%;width:{100 * (places['high'] - places['low']):.2f}%"
    return f"""<div class="rung{mark}" role="listitem"><span class="name">{text(title)}</span>
<span class="track" aria-hidden="true"><span class="fill" style="{fill}"></span>
<span class="whisker" style="{whisker}"></span></span><span class="number">{score_with_span(mean)}</span></div>"""


def games(evaluation: Row) -> str:
    """Return a table of all arms for every game, and what did not run."""
    parts = [_game(evaluation, game) for game in evaluation["games"]]
    skipped = "".join(
        f"<li>{text(name)} did not run: {text(reason)}</li>" for name, reason in evaluation["skipped"].items()
    )
    notes = "".join(f"<li>{text(row['title'])}: {text(row['note'])}</li>" for row in evaluation["arms"] if row["note"])
    notes += "".join(f"<li>{text(note)}</li>" for note in evaluation["notes"])
    listed = f"<ul class='errors quiet'>{skipped}{notes}</ul>" if skipped or notes else ""
    return f"""<section class="card"><h2>What it had to beat</h2>
<p class="lead">{_level(evaluation)} intervals by bootstrap over episodes. Gains are those of the fine-tuned policy over
the arm of the row, episode by episode where both played the same ones.</p>{"".join(parts)}{_costs(evaluation)}{listed}
<details><summary>What the columns say</summary><ul class="errors quiet">
<li>IQM: interquartile mean, the mean of the middle half of the episodes; luck at either end does not move it.</li>
<li>goal: share of the episodes that reached the goal, as the game says, with Wilson's interval.</li>
<li>P(better): chance that an episode of the fine-tuned policy has a higher return than one of the row; ties count
half.</li><li>agrees: share of steps of demonstrations kept apart in which it does what the demonstrator did.</li>
</ul></details></section>"""


def _game(evaluation: Row, game: str) -> str:
    arms = [row for row in evaluation["arms"] if game in row["games"]]
    with_goal = any(row["games"][game]["success"] for row in arms)
    new = game == evaluation["game"]
    heads = ["", "mean return", "gain over it", "IQM", "median", "P(better)"]
    heads += (["goal", "gain"] if with_goal else []) + ["steps each"]
    rows = []
    for row in arms:
        played, difference = row["games"][game], (row["difference"] or {}).get(game)
        cells = [_small(score_with_span(played["mean"]))]
        cells += [_small(score_signed(difference["mean"])) if difference else _DASH]
        cells += [_small(score_with_span(played["iqm"])), _small(score_with_span(played["median"]))]
        cells += [_probability(difference)]
        if with_goal:
            cells += [_small(percent_span(played["success"])) if played["success"] else _DASH]
            cells += [_points(difference["success"]) if difference and difference["success"] else _DASH]
        cells += [f"{played['length']:,.0f}"]
        rows.append(_line(row["title"], cells, "reference" if row["name"] == evaluation["reference"] else ""))
    if game in evaluation["random"]:
        played = evaluation["random"][game]
        cells = [_small(score_with_span(played["mean"])), _DASH, _small(score_with_span(played["iqm"]))]
        cells += [_small(score_with_span(played["median"])), _DASH]
        if with_goal:
            cells += [_small(percent_span(played["success"])) if played["success"] else _DASH, _DASH]
        cells += [f"{played['length']:,.0f}"]
        rows.append(_line("at random", cells, "measured-against"))
    counts = sorted({row["games"][game]["episodes"] for row in arms})
    shown = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    what = "the game that was trained on" if new else "another game"
    return f"""<h3>{text(game)} <small class="quiet">{what}, {shown} {"episode" if counts == [1] else "episodes"}
each</small></h3>{_table(f"all arms on {text(game)}", heads, rows)}"""


def _costs(evaluation: Row) -> str:
    """Return what it took to learn, and how far it does what demonstrators do."""
    agrees = any(row["agreement"] for row in evaluation["arms"])
    rows = []
    for row in evaluation["arms"]:
        cells = [steps_text(row["steps"]).replace("-", _DASH), _duration(row["seconds"])]
        if agrees:
            cells += [_small(percent_span(row["agreement"])) if row["agreement"] else _DASH]
        rows.append(_line(row["title"], cells, "reference" if row["name"] == evaluation["reference"] else ""))
    heads = ["", "steps of the game", "time", *(["agrees with demonstrations"] if agrees else [])]
    return f"<h3>What it took to learn</h3>{_table('what it took to learn', heads, rows)}"


def _probability(difference: Row | None) -> str:
    if not difference:
        return _DASH
    found = difference["probability"]
    return f"{number(found['value'])} <small>({number(found['low'])} to {number(found['high'])})</small>"


def _points(interval: Row) -> str:
    """Write a difference of shares in percentage points."""
    value, low, high = (round(100 * interval[key]) + 0 for key in ("value", "low", "high"))
    return f"{value:+d} <small>({low:+d} to {high:+d})</small>"


def forgetting(evaluation: Row) -> str:
    """Return the forgetting matrix: games against policies, colored by the share of the old skill that was kept."""
    matrix = evaluation["forgetting"]
    if not matrix:
        return ""
    if matrix["games"] == [evaluation["game"]]:
        return """<section class="card"><h2>What was forgotten</h2><p>It was not measured, as no other game was played.
Name the game that the policy was made for under <code>environment: others</code> in the recipe.</p></section>"""
    heads = ["", *(text(row["title"]) for row in matrix["rows"])]
    rows = []
    for game in matrix["games"]:
        new = game == evaluation["game"]
        cells = "".join(_kept_cell(row, game, row["name"] == matrix["before"], new) for row in matrix["rows"])
        mark = ' <small class="quiet">trained on</small>' if new else ""
        rows.append(f'<tr><th scope="row">{text(game)}{mark}</th>{cells}</tr>')
    floor = "a random policy's return" if evaluation["random"] else "0, as no random policy was played"
    return f"""<section class="card"><h2>What was forgotten</h2>
<p class="lead">Mean return of every policy on every game, and on old games the share of the skill before fine-tuning
that it has, counted from {floor}. Blue: {KEPT:.0%} or more; orange: less, the stronger the more was lost.</p>
<div class="scroll" tabindex="0"><table class="plain kept" aria-label="forgetting matrix"><thead><tr>
{"".join(f'<th scope="col">{head}</th>' for head in heads)}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>
</section>"""


def _kept_cell(row: Row, game: str, is_before: bool, new: bool) -> str:
    entry = row["games"].get(game)
    if entry is None:
        return f"<td>{_DASH}</td>"
    told, style = "before" if is_before else "", ""
    if not is_before and not new:
        kept = entry["kept"]
        told = percent_span(kept) if kept else f"unknown: {entry['why']}"
        style = f' style="{_kept_color(kept["value"])}"' if kept else ""
    head = text(score(entry["score"]["value"]))
    return f"<td{style}><b>{head}</b> <small>{text(score_span(entry['score']))}</small><small>{text(told)}</small></td>"


def _kept_color(share: float) -> str:
    if share >= KEPT:
        return f"background:rgb(var(--heat) / {0.12 + 0.25 * min(1.0, max(0.0, (share - KEPT) / 0.3)):.2f})"
    return f"background:rgb(var(--lost) / {0.12 + 0.5 * min(1.0, (KEPT - share) / KEPT):.2f})"


def learning(evaluation: Row) -> str:
    """Return learning curves with bands, for every game that has some; nothing when there are none."""
    names = list(dict.fromkeys(point["game"] for row in evaluation["arms"] for point in row["curve"]))
    figures = []
    for place, game in enumerate(names):
        shown = game or evaluation["game"]
        flat = [
            (row["title"], row["games"][shown]["mean"]["value"])
            for row in evaluation["arms"]
            if not row["curve"] and shown in row["games"]
        ]
        for key, label in (("mean", "mean return"), ("success", "share that reached the goal")):
            curves = [
                (
                    row["title"],
                    [
                        {"steps": point["steps"], **point[key]}
                        for point in row["curve"]
                        if point["game"] == game and point[key]
                    ],
                )
                for row in evaluation["arms"]
            ]
            svg = band_curves(f"curve-{place}-{key}", label, curves, flat if key == "mean" else ())
            caption = f"<figcaption>{text(shown)}</figcaption>" if len(names) > 1 else ""
            figures.append(f'<figure class="figure">{svg}{caption}</figure>' if svg else "")
    drawn = "".join(figures)
    if not drawn:
        return ""
    return f"""<section class="card"><h2>How it learned</h2>
<p class="lead">Episodes played while learning, gathered into stretches of equal steps; bands are {_level(evaluation)}
intervals over the episodes of a stretch of this one training. Dashed: policies that learn nothing here.</p>
<div class="columns">{drawn}</div></section>"""


def spread(evaluation: Row) -> str:
    """Return the returns of single episodes and the share of episodes above each return, game by game."""
    parts = []
    for place, game in enumerate(evaluation["games"]):
        arms = [(row["title"], row["games"][game]) for row in evaluation["arms"] if game in row["games"]]
        profile = evaluation["profiles"][game]
        bands = [
            (order, row["title"], profile["arms"][row["name"]])
            for order, row in enumerate(evaluation["arms"])
            if row["name"] in profile["arms"]
        ]
        figures = [returns_figure(f"returns-{place}", arms)]
        figures += [profile_figure(f"profile-{place}", profile["thresholds"], bands)]
        shown = "".join(f'<figure class="figure">{svg}</figure>' for svg in figures if svg)
        parts.append(f'<h3>{text(game)}</h3><div class="columns">{shown}</div>')
    return f"""<section class="card"><h2>Episode by episode</h2>
<p class="lead">Left: each dot is an episode, the diamond the interquartile mean with its interval. Right: performance
profile, the share of episodes with a return above the one below; higher is better everywhere.</p>
{"".join(parts)}</section>"""


def strength(table: Row | None) -> str:
    """Return levels of strength against what they reach."""
    if not table or not table.get("levels"):
        return ""
    rows = [
        _line(
            number(row["level"]),
            [
                f"{number(row['score']['value'])} <small>({number(row['score']['low'])} to "
                f"{number(row['score']['high'])})</small>",
                score(row["raw"]),
                f"{text(row['text'])}{'' if row['reached'] else ' <small>nearest there is</small>'}",
            ],
        )
        for row in table["levels"]
    ]
    heads = ["level", "strength", "return", "setting"]
    return f"""<section class="card"><h2>How strong it plays, by level</h2>
<p class="lead">Strength 0 plays like a random policy (return {score(table["random"])}), 1 like the full one
({score(table["full"])}). Levels that no setting comes near are marked; a cross in the figure.</p>
<div class="columns"><div>{_table("levels of strength", heads, rows)}</div>
<figure class="figure">{strength_figure(table)}</figure></div></section>"""


def retention(settings: Row | None) -> str:
    """Return what kept the policy from forgetting, and how its weight fell.

    Args:
        settings: ``{"terms": [{"kind", "weight", "schedule", "until", "batch"}], "states": 10000}``, or nothing.
    """
    if settings is None:
        return ""
    terms = settings.get("terms") or []
    if not terms:
        return """<section class="card"><h2>What kept it from forgetting</h2>
<p>Nothing: this was plain fine-tuning.</p></section>"""
    rows = [
        _line(
            str(term.get("kind", "")),
            [text(term.get("weight", _DASH)), text(_schedule(term)), text(term.get("batch") or _DASH)],
        )
        for term in terms
    ]
    states = settings.get("states")
    lead = f'<p class="lead">{int(states):,} expert states were kept.</p>' if isinstance(states, int) else ""
    heads = ["term", "weight at first", "schedule", "expert states a minibatch"]
    return f"""<section class="card"><h2>What kept it from forgetting</h2>{lead}
{_table("retention terms", heads, rows)}</section>"""


def _schedule(term: Row) -> str:
    schedule, until = str(term.get("schedule", "constant")), term.get("until")
    share = float(until) if isinstance(until, int | float) and isfinite(until) else 1.0
    if schedule == "linear":
        return f"falls evenly, gone after {percent(share)} of the steps"
    if schedule == "exponential":
        return f"falls to a hundredth within {percent(share)} of the steps"
    return "stays" if schedule == "constant" else schedule


def surgery(proof: Row | None) -> str:
    """Return what was changed about the policy before fine-tuning, and the proof that it does what it did.

    Args:
        proof: ``{"plan": text, "largest_difference": float, "observations": int, "tolerance": float, "losses": [...],
            "notes": [...]}``; any of them may be missing.
    """
    if not proof:
        return ""
    facts = []
    largest, observations = proof.get("largest_difference"), proof.get("observations")
    if isinstance(largest, int | float):
        facts.append(("largest change of an answer", f"{largest:.2g}"))
    if isinstance(observations, int):
        facts.append(("old observations compared", f"{observations:,}"))
    if isinstance(proof.get("tolerance"), int | float):
        facts.append(("allowed", f"{proof['tolerance']:.0e}"))
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    lists = "".join(
        f"<h3>{title}</h3><ul class='errors'>{''.join(f'<li>{text(entry)}</li>' for entry in proof[key])}</ul>"
        for key, title in (("losses", "Not preserved"), ("notes", "Notes"))
        if proof.get(key)
    )
    plan = f"<details><summary>Plan</summary><pre>{text(proof['plan'])}</pre></details>" if proof.get("plan") else ""
    return f"""<section class="card"><h2>Surgery before fine-tuning</h2>
{f'<dl class="facts">{shown}</dl>' if shown else ""}{lists}{plan}</section>"""
