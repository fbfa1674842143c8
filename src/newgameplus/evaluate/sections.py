"""The parts of a report as HTML: verdict, table, mistakes, strips, figures, recipe and environment.

Every text that comes from a user (class names, clips, notes, the recipe) goes through ``text``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from newgameplus.evaluate.figures import learning_curves, reliability_diagram
from newgameplus.evaluate.strips import Strip
from newgameplus.evaluate.verdict import number, signed, span

__all__ = ["arms_table", "calibration", "details", "learning", "mistakes", "strips", "text", "verdict_card"]

_BADGES = {
    "helped": "\u25b2 Fine-tuning helped",
    "hurt": "\u25bc Fine-tuning hurt",
    "no gain": "= No gain",
    "undecided": "? Too little data to tell",
}
_MANY_CLASSES = 16
_WEAKEST_SHOWN = 10


def text(value: object) -> str:
    """Make any value safe to stand in HTML, in an attribute too; what no browser can show becomes U+FFFD."""
    shown = "".join(letter if letter.isprintable() or letter in "\n\t\u00a0" else "\ufffd" for letter in str(value))
    return escape(shown, quote=True)


def _duration(seconds: float) -> str:
    if seconds <= 0:
        return "\u2013"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _count(value: int) -> str:
    return f"{value:,}" if value else "\u2013"


def _heads(titles: Sequence[str]) -> str:
    return "".join(f'<th scope="col">{title}</th>' for title in titles)


def verdict_card(evaluation: Mapping[str, Any]) -> str:
    """Return the verdict with a bar for every arm."""
    verdict = evaluation["verdict"]
    badge = _BADGES[verdict["outcome"]] if verdict["against"] else "? No verdict"
    cautions = "".join(f'<p class="caution">{text(caution)}</p>' for caution in evaluation["cautions"])
    rungs = "".join(_rung(row, evaluation) for row in evaluation["arms"])
    return f"""<section class="card verdict {text(verdict["outcome"].replace(" ", "-"))}" aria-label="verdict">
<p class="outcome">{badge}</p>
<p class="sentence">{text(_without_opening(verdict["sentence"]))}</p>
{cautions}<div class="ladder" role="list" aria-label="accuracy of every arm">{rungs}</div>
<p class="quiet">Bar: accuracy on {evaluation["clips"]:,} test clips, from 0 to 1. Thin line: {_level(evaluation)}
interval over {text(evaluation["unit"])}s.</p>
</section>"""


def _without_opening(sentence: str) -> str:
    """Drop what the badge above the sentence says already."""
    _, colon, rest = sentence.partition(": ")
    return rest[:1].upper() + rest[1:] if colon else sentence


def _level(evaluation: Mapping[str, Any]) -> str:
    return f"{evaluation['level'] * 100:g} %"


def _rung(row: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    accuracy = row["metrics"]["accuracy"]
    low, high, value = (100 * accuracy[key] for key in ("low", "high", "value"))
    reference = " reference" if row["name"] == evaluation["reference"] else ""
    return f"""<div class="rung{reference}" role="listitem"><span class="name">{text(row["title"])}</span>
<span class="track" aria-hidden="true"><span class="fill" style="width:{value:.2f}%"></span>
<span class="whisker" style="left:{low:.2f}%;width:{high - low:.2f}%"></span></span>
<span class="number">{number(accuracy["value"])} {span(accuracy)}</span></div>"""


def arms_table(evaluation: Mapping[str, Any]) -> str:
    """Return the table of all arms with intervals, and what did not run."""
    heads = ["", "accuracy", "gain over it", "macro F1", "gain over it", "balanced accuracy", "calibration error"]
    heads += ["time", "steps", "trained weights"]
    rows = "".join(_arm_row(row, evaluation) for row in evaluation["arms"])
    rows += "".join(
        f'<tr><th scope="row">{text(name)}</th><td class="text quiet" colspan="9">did not run: {text(reason)}</td></tr>'
        for name, reason in evaluation["skipped"].items()
    )
    notes = "".join(f"<li>{text(row['title'])}: {text(row['note'])}</li>" for row in evaluation["arms"] if row["note"])
    return f"""<section class="card"><h2>What it had to beat</h2>
<p class="lead">{_level(evaluation)} intervals by bootstrap over {evaluation["groups"]:,} test groups. The gain is
that of the fine-tuned model over the arm of the row, on the same clips and resampled groups.</p>
<div class="scroll" tabindex="0"><table class="plain" aria-label="all arms"><thead><tr>{_heads(heads)}</tr></thead>
<tbody>{rows}</tbody></table></div>{f"<ul class='errors quiet'>{notes}</ul>" if notes else ""}</section>"""


def _with_span(value: str, interval: Mapping[str, float]) -> str:
    return f"{value} <small>{span(interval)}</small>"


def _arm_row(row: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    metrics, difference = row["metrics"], row["difference"]
    cells = []
    for name in ("accuracy", "macro_f1"):
        cells.append(_with_span(number(metrics[name]["value"]), metrics[name]))
        cells.append(_with_span(signed(difference[name]["value"]), difference[name]) if difference else "\u2013")
    cells += [number(metrics[name]["value"]) for name in ("balanced_accuracy", "ece")]
    cells += [_duration(row["seconds"]), _count(row["steps"]), _count(row["trainable_parameters"])]
    reference = ' class="reference"' if row["name"] == evaluation["reference"] else ""
    return (
        f'<tr{reference}><th scope="row">{text(row["title"])}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    )


def mistakes(evaluation: Mapping[str, Any]) -> str:
    """Return the commonest mistakes, the confusion matrix and the table of classes, for the first arm."""
    row = evaluation["arms"][0]
    return f"""<section class="card"><h2>Where it errs</h2>
<p class="lead">{text(row["title"].capitalize())}, on the test clips.</p>
{_commonest(row["confusion"], evaluation["labels"])}
<div class="{"stack" if len(evaluation["labels"]) > _MANY_CLASSES else "columns"}">
<div>{_confusion(row["confusion"], evaluation["labels"])}</div>
<div>{_classes(row["per_class"])}</div></div></section>"""


def _commonest(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    pairs = [(count, i, j) for i, line in enumerate(confusion) for j, count in enumerate(line) if i != j and count]
    worst = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:5]
    if not worst:
        return "<p>It made no mistake.</p>"
    items = "".join(
        f"<li><b>{text(labels[i])}</b> taken for <b>{text(labels[j])}</b>: {count:,} of {sum(confusion[i]):,} clips "
        f"({count / sum(confusion[i]):.0%})</li>"
        for count, i, j in worst
    )
    return f'<ol class="errors">{items}</ol>'


def _confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col" title="{text(label)}"><span>{text(label)}</span></th>' for label in labels)
    rows = "".join(
        f'<tr><th scope="row" title="{text(label)}">{text(label)}</th>'
        + "".join(_cell(line, i, j, labels) for j in range(len(labels)))
        + "</tr>"
        for i, (label, line) in enumerate(zip(labels, confusion, strict=True))
    )
    many = " many" if len(labels) > _MANY_CLASSES else ""
    return f"""<h3>Confusion matrix</h3><p class="quiet">A row holds the clips of one true class, a column one answer.
Colour: share of the row.</p><div class="scroll" tabindex="0">
<table class="confusion{many}" aria-label="confusion matrix">
<thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"""


def _cell(line: Sequence[int], i: int, j: int, labels: Sequence[str]) -> str:
    count, total = line[j], sum(line)
    share = count / total if total else 0.0
    kinds = " ".join(kind for kind, holds in (("diagonal", i == j), ("strong", share > 0.5)) if holds)
    style = f' style="background:rgb(var(--heat) / {0.08 + 0.87 * share:.2f})"' if count else ""
    title = (
        f' title="{text(labels[i])} \u2192 {text(labels[j])}: {count:,} of {total:,} ({share:.0%})"' if count else ""
    )
    return f"<td{f' class={chr(34)}{kinds}{chr(34)}' if kinds else ''}{style}{title}>{count or ''}</td>"


def _classes(per_class: Mapping[str, Mapping[str, float]]) -> str:
    ordered = sorted(per_class.items(), key=lambda item: (item[1]["support"] == 0, item[1]["f1"]))
    shown = ordered if len(ordered) <= _MANY_CLASSES else ordered[:_WEAKEST_SHOWN]
    folded = ""
    if rest := ordered[len(shown) :]:
        folded = f"<details><summary>{len(rest)} more classes</summary>{_classes_table(rest)}</details>"
    return f"""<h3>Class by class</h3><p class="quiet">The weakest first. Answers: how often it said so.</p>
{_classes_table(shown)}{folded}"""


def _classes_table(classes: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    rows = ""
    for label, row in classes:
        cells = [f"{row[key]:.2f}" if row["support"] else "\u2013" for key in ("f1", "recall", "precision")]
        cells += [f"{int(row[key]):,}" for key in ("support", "predicted")]
        rows += f'<tr><th scope="row">{text(label)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
    heads = ["class", "F1", "recall", "precision", "clips", "answers"]
    return f"""<div class="scroll">
<table class="plain" aria-label="scores by class"><thead><tr>{_heads(heads)}</tr></thead>
<tbody>{rows}</tbody></table></div>"""


def strips(shown: Sequence[Strip]) -> str:
    """Return strips of frames, the mistakes first; nothing when there are none."""
    parts = []
    for title, wanted in (("Mistakes, the surest of each kind", False), ("Right answers", True)):
        if figures := "".join(_strip(strip) for strip in shown if strip.right is wanted):
            parts.append(f'<h3>{title}</h3><div class="strips">{figures}</div>')
    if not parts:
        return ""
    return f"""<section class="card"><h2>What it saw</h2>
<p class="lead">The frames of a clip from left to right; under them the truth, the answer and how sure it was.</p>
{"".join(parts)}</section>"""


def _strip(strip: Strip) -> str:
    kind = "right" if strip.right else "wrong"
    mark = "\u2713" if strip.right else "\u2717"
    said = f'<span class="said">{mark} {text(strip.predicted)}</span> {number(strip.probability)}'
    if not strip.right:
        said = f'<span class="was">{text(strip.truth)}</span> \u2192 {said}'
    return f"""<figure class="{kind}"><img src="{strip.picture}"
alt="{strip.length} of {text(strip.clip)}: {text(strip.truth)}, answered {text(strip.predicted)}">
<figcaption>{said}<small>{text(strip.clip)}</small></figcaption></figure>"""


def learning(history: Sequence[Mapping[str, Any]], evaluation: Mapping[str, Any]) -> str:
    """Return the learning curves; nothing when there is no history."""
    figures = learning_curves(history, {row["name"]: row["title"] for row in evaluation["arms"]})
    if not figures:
        return ""
    shown = "".join(f'<figure class="figure">{svg}</figure>' for svg in figures.values())
    return f"""<section class="card"><h2>How it learned</h2>
<p class="lead">Measured after every epoch; dotted lines mark where a phase of the fine-tuning begins.</p>
<div class="columns">{shown}</div></section>"""


def calibration(evaluation: Mapping[str, Any]) -> str:
    """Return the reliability diagram of the first arm."""
    row = evaluation["arms"][0]
    error = row["metrics"]["ece"]
    return f"""<section class="card"><h2>Can its confidence be trusted?</h2>
<div class="columns"><p>Expected calibration error {number(error["value"])} {span(error)}: how far, on average, the
confidence is from the share of right answers. On the dashed line they agree; below it the model is too sure of
itself. The bars below count the clips.</p>
<figure class="figure">{reliability_diagram(row["reliability"])}</figure></div></section>"""


def details(recipe_yaml: str, environment: Mapping[str, Any], left_out: Sequence[object]) -> str:
    """Return the recipe, the environment and the files that were left out, folded up."""
    parts = []
    if recipe_yaml:
        parts.append(f"<details><summary>Recipe</summary><pre><code>{text(recipe_yaml)}</code></pre></details>")
    if environment:
        rows = "".join(
            f'<tr><th scope="row">{text(key)}</th><td class="text">{text(value)}</td></tr>'
            for key, value in _flat(environment)
        )
        parts.append(
            "<details><summary>Environment</summary><div class='scroll'><table class='plain'>"
            f"<tbody>{rows}</tbody></table></div></details>"
        )
    if left_out:
        items = "".join(f"<li>{text(problem)}</li>" for problem in left_out)
        parts.append(
            f"<details><summary>Left out ({len(left_out):,})</summary><ul class='errors'>{items}</ul></details>"
        )
    return f'<section class="card"><h2>To do it again</h2>{"".join(parts)}</section>' if parts else ""


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            rows.append((f"{prefix}{key}", ", ".join(map(str, value))))
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows
