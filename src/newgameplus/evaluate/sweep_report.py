"""Many fits of one recipe held against each other: a row for each setting, over its seeds; best by validation only.

The best setting is the one that validation prefers. Test figures stand beside it and choose nothing: what is chosen by
its test result has seen the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from newgameplus import __version__
from newgameplus.evaluate.returns import mean_interval
from newgameplus.evaluate.sections import text
from newgameplus.evaluate.tables import columns, shorten, wrap
from newgameplus.evaluate.verdict import number, signed, span
from newgameplus.files import write_text

__all__ = ["METRIC_NAMES", "summarize_sweep", "sweep_table", "write_sweep_report"]

METRIC_NAMES: Mapping[str, str] = {
    "behavior": "accuracy on test clips",
    "scene": "share of good levels",
    "agent": "mean return",
}
"""What the figure of a run is, by scenario."""

Row = Mapping[str, Any]


def summarize_sweep(rows: Sequence[Row], scenario: str, *, level: float = 0.95) -> dict[str, Any]:
    """Return settings with their means over seeds, and their paired differences to the best by validation.

    Args:
        rows: For each fit ``{"name", "settings": {key: value}, "status": "finished" | "failed" | "not finished",
            "metric": {"value", "low", "high"} | None, "validation": float | None, "error": str}``; of ``validation``
            more is better.
        scenario: Of all of them.
        level: Of the intervals over seeds.

    Returns:
        JSON-safe data::

            {"scenario", "metric", "level", "best": NAME | null,
             "settings": [{"name", "settings": {...}, "seeds": [...], "metric": {"value", "low", "high"} | null,
                           "over": "seeds" | "test groups", "validation": 0.9 | null, "paired": 3,
                           "difference": {"value", "low", "high"} | null, "failed": 0}],
             "cautions", "sentence"}
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_name_of(row["settings"]), []).append(row)
    settings = [_setting(name, members, level) for name, members in groups.items()]
    best = _best(settings)
    if best is not None:
        for setting in settings:
            if setting is not best:
                _pair(setting, groups[setting["name"]], groups[best["name"]], level)
    found: dict[str, Any] = {
        "scenario": scenario,
        "metric": METRIC_NAMES[scenario],
        "level": level,
        "best": best["name"] if best else None,
        "settings": settings,
    }
    return found | {"cautions": _cautions(settings, best), "sentence": _sentence(settings, best, found["metric"])}


def _name_of(settings: Mapping[str, Any]) -> str:
    told = [f"{key.rpartition('.')[2]} {value}" for key, value in settings.items() if key != "seed"]
    return ", ".join(told) or "the recipe as it is"


def _setting(name: str, members: Sequence[Row], level: float) -> dict[str, Any]:
    finished = [row for row in members if row["status"] == "finished" and row["metric"] is not None]
    known = [row["validation"] for row in finished if row["validation"] is not None]
    metric, over = None, "test groups"
    if len(finished) == 1:
        metric = dict(finished[0]["metric"])
    elif finished:
        values = [row["metric"]["value"] for row in finished]
        metric, over = mean_interval(values, level=level).as_dict(), "seeds"
    return {
        "name": name,
        "settings": {key: value for key, value in members[0]["settings"].items() if key != "seed"},
        "seeds": [row["settings"].get("seed") for row in finished],
        "metric": metric,
        "over": over,
        "validation": float(np.mean(known)) if known and len(known) == len(finished) else None,
        "paired": 0,
        "difference": None,
        "failed": len(members) - len(finished),
    }


def _best(settings: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the setting that validation prefers; none unless every setting that was fitted has been validated."""
    fitted = [setting for setting in settings if setting["metric"] is not None]
    if not fitted or any(setting["validation"] is None for setting in fitted):
        return None
    return max(fitted, key=lambda setting: setting["validation"])


def _pair(setting: dict[str, Any], members: Sequence[Row], others: Sequence[Row], level: float) -> None:
    here, there = _by_seed(members), _by_seed(others)
    differences = [here[seed] - there[seed] for seed in here if seed in there]
    setting["paired"] = len(differences)
    if len(differences) > 1:
        setting["difference"] = mean_interval(differences, level=level).as_dict()


def _by_seed(rows: Sequence[Row]) -> dict[Any, float]:
    return {row["settings"].get("seed"): row["metric"]["value"] for row in rows if row["metric"] is not None}


def _cautions(settings: Sequence[dict[str, Any]], best: dict[str, Any] | None) -> list[str]:
    cautions = []
    fitted = [setting for setting in settings if setting["metric"] is not None]
    if failed := sum(setting["failed"] for setting in settings):
        cautions.append(f"{failed} fits are not finished: what is said is about the others")
    if fitted and best is None:
        cautions.append(
            "no best setting is named: there are no validation data to choose by (set data.validation to a share)"
        )
    if any(len(setting["seeds"]) == 1 for setting in fitted):
        cautions.append("one seed says nothing about other seeds; sweep over several: --over seed=0,1,2")
    if len({tuple(map(str, setting["seeds"])) for setting in fitted}) > 1:
        cautions.append("settings were fitted with different seeds; differences take the seeds that both have")
    return cautions


def _sentence(settings: Sequence[dict[str, Any]], best: dict[str, Any] | None, metric: str) -> str:
    fitted = sum(setting["metric"] is not None for setting in settings)
    if best is None:
        return f"{fitted} of {len(settings)} settings were fitted; none is named best."
    told = f"{metric} {number(best['metric']['value'])} {span(best['metric'])}"
    return f"Validation prefers {best['name']} among {fitted} settings: {told}."


def sweep_table(sweep: Mapping[str, Any]) -> str:
    """Return a sweep as text of at most 80 columns."""
    report = sweep["report"]
    rows = [["setting", f"test ({report['level'] * 100:g} %)", "seeds", "validation", "against the best"]]
    for setting in report["settings"]:
        metric, difference = setting["metric"], setting["difference"]
        mark = "* " if setting["name"] == report["best"] else ""
        rows.append(
            [
                mark + shorten(setting["name"], 28),
                f"{number(metric['value'])} {span(metric)}" if metric else "not finished",
                str(len(setting["seeds"])),
                "" if setting["validation"] is None else f"{setting['validation']:.3f}",
                f"{signed(difference['value'])} {span(difference)}" if difference else "",
            ]
        )
    lines = [*wrap(report["sentence"], ""), "", *columns(rows)]
    lines += ["*: best by validation; test figures choose nothing"] if report["best"] else []
    lines += [line for caution in report["cautions"] for line in wrap(f"caution: {caution}")]
    for run in sweep["runs"]:
        if run["error"]:
            lines += wrap(f"{run['status']}: {run['name']}: {run['error']}")
    return "\n".join(lines)


def write_sweep_report(path: Path, sweep: Mapping[str, Any], *, title: str) -> None:
    """Write a sweep as one HTML file.

    Args:
        path: The file to write.
        sweep: ``{"report": summarize_sweep(...), "runs": rows, "comparison": text or ""}``.
        title: What it is about.
    """
    package = files("newgameplus.evaluate")
    parts = [_card(sweep["report"]), _settings_section(sweep["report"]), _runs_section(sweep["runs"])]
    if sweep.get("comparison"):
        parts.append(
            '<section class="card"><h2>Run against run</h2><p class="lead">All are held against the first, which is of '
            f'the best setting, on the same test data.</p><div class="scroll"><pre>{text(sweep["comparison"])}</pre>'
            "</div></section>"
        )
    content = Template(package.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        title=text(title),
        style=package.joinpath("report.css").read_text(encoding="utf-8").strip(),
        sections="\n".join(parts),
        version=text(__version__),
    )
    write_text(path, content)


def _card(report: Mapping[str, Any]) -> str:
    cautions = "".join(f'<p class="caution">{text(caution)}</p>' for caution in report["cautions"])
    badge = "Best by validation" if report["best"] else "? No best setting"
    return f"""<section class="card verdict {"helped" if report["best"] else "undecided"}" aria-label="result">
<p class="outcome">{badge}</p><p class="sentence">{text(report["sentence"])}</p>{cautions}</section>"""


def _settings_section(report: Mapping[str, Any]) -> str:
    heads = ["setting", report["metric"], "interval over", "seeds", "validation", "against the best", "same seeds"]
    body = []
    for setting in report["settings"]:
        metric, difference = setting["metric"], setting["difference"]
        cells = [
            f"{number(metric['value'])} <small>{span(metric)}</small>" if metric else "not finished",
            setting["over"] if metric else "",
            str(len(setting["seeds"])),
            "" if setting["validation"] is None else f"{setting['validation']:.3f}",
            f"{signed(difference['value'])} <small>{span(difference)}</small>" if difference else "",
            str(setting["paired"] or ""),
        ]
        kind = ' class="reference"' if setting["name"] == report["best"] else ""
        told = "".join(f"<td>{cell}</td>" for cell in cells)
        body.append(f'<tr{kind}><th scope="row">{text(setting["name"])}</th>{told}</tr>')
    return f"""<section class="card"><h2>Settings</h2><p class="lead">{report["level"] * 100:g} % intervals. The best is
chosen by validation; differences are paired by seed.</p>{_table(heads, body, "settings")}</section>"""


def _runs_section(runs: Sequence[Row]) -> str:
    body = []
    for run in runs:
        metric = run["metric"]
        shown = f"{number(metric['value'])} <small>{span(metric)}</small>" if metric else ""
        validation = "" if run["validation"] is None else f"{run['validation']:.3f}"
        status = text(run["status"] + (f": {run['error']}" if run["error"] else ""))
        cells = f'<td>{shown}</td><td>{validation}</td><td class="text">{status}</td>'
        body.append(f'<tr><th scope="row">{text(run["name"])}</th>{cells}</tr>')
    heads = ["run", "test", "validation", ""]
    return f'<section class="card"><h2>Runs</h2>{_table(heads, body, "runs")}</section>'


def _table(heads: Sequence[str], body: Sequence[str], label: str) -> str:
    head = "".join(f'<th scope="col">{text(one)}</th>' for one in heads)
    return f"""<div class="scroll" tabindex="0"><table class="plain" aria-label="{label}"><thead><tr>{head}</tr></thead>
<tbody>{"".join(body)}</tbody></table></div>"""
