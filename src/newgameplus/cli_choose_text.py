"""How choices and lists of models look as text, at most 80 columns wide."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["choice_text", "model_text", "models_text"]

_WIDTH = 80
_MOST_LEFT_OUT = 10
#: Facts that a card holds for machines, too long for a screen.
_MACHINE_FACTS = (
    "config",
    "architecture",
    "observations",
    "actions",
    "measures",
    "meanings",
    "training",
    "earlier_trainings",
)
_LONGEST_FACT = 300
_HEADS = {"knn": "kNN", "logme": "LogME", "prior": "prior"}
_MORE = (
    "more: transformers:NAME-OR-FOLDER (image, video and text models of Hugging Face Transformers), "
    "checkpoint:FILE (own weights), run:FOLDER (an earlier run, or what ngp pretrain wrote), sb3:FILE.zip (policies)"
)


def choice_text(result: Mapping[str, Any]) -> str:
    """Return a choice as a table, best first, with the order by the prior alone beside it; then the advice."""
    candidates = result["candidates"]
    scores = [name for name in candidates[0]["scores"] if name != "prior"]
    lines = [_heading(scores, candidates)]
    for place, one in enumerate(candidates, 1):
        lines += [*_named(place, one), _row(one, scores, result["by_prior"])]
    lines += [
        "",
        *_wrapped("prior, kNN, LogME, fit time and memory are estimates; prior is the rank by the card alone."),
    ]
    for one in result["left_out"][:_MOST_LEFT_OUT]:
        lines += _wrapped(f"left out {one['name']}: {one['message']}")
    if (more := len(result["left_out"]) - _MOST_LEFT_OUT) > 0:
        lines.append(f"left out {more} more (--json lists all)")
    lines += ["", *_wrapped(f"chosen: {result['reason']}")]
    lines += ["", *_wrapped(result["advice"])] if result["advice"] else []
    lines += ["", f"written to {result['written_to']}"] if result.get("written_to") else [""]
    return "\n".join([*lines, f"next: {result['next']}"])


def _named(place: int, one: Mapping[str, Any]) -> list[str]:
    """Return the line with a candidate's name, and below it the options that tell it from others of that name."""
    start = one.get("start") or one["name"]
    own = one["name"].removeprefix(start).strip()
    line = _cut(f"{place:>2}. {start}  ({one['license']})")
    return [line, *textwrap.wrap(own, _WIDTH, initial_indent="    ", subsequent_indent="     ")]


def _heading(scores: Sequence[str], candidates: Sequence[Mapping[str, Any]]) -> str:
    measures = {one["short_run"]["measure"] for one in candidates if one["short_run"]}
    run = f"short run: {', '.join(sorted(measures))}" if measures else ""
    heads = "".join(f"{_HEADS.get(name, name)[:7]:>8}" for name in scores)
    head = f"   prior{heads}{'short run':>20}{'weights':>9}{'answer':>10}{'fit':>8}{'memory':>9}"
    return f"{run}\n{head}" if run else head


def _row(one: Mapping[str, Any], scores: Sequence[str], by_prior: Sequence[str]) -> str:
    rank = str(by_prior.index(one["name"]) + 1) if one["name"] in by_prior else "-"
    values = "".join(f"{one['scores'][name]:>8.3f}" for name in scores)
    run, cost = one["short_run"], one["cost"]
    tried = f"{run['value']:.3f} ({run['low']:.2f}..{run['high']:.2f})" if run else "-"
    costs = (
        f"{_answer_time(cost['latency_seconds']):>10}{_time(cost['fit_seconds']):>8}{_bytes(cost['fit_bytes']):>9}"
        if cost
        else f"{'-':>10}{'-':>8}{'-':>9}"
    )
    return f"{rank:>8}{values}{tried:>20}{_count(one['parameters']):>9}{costs}"


def models_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a list of models as a table of two lines each."""
    if not rows:
        return "\n".join(["no model fits these filters", "", *_wrapped(_MORE)])
    head = f"  {'task':<9}{'family':<14}{'weights':>8}  {'input':<14}{'licence':<14}{'to train':>9}  here"
    lines = [head]
    for row in rows:
        lines.append(_cut(str(row["name"])))
        memory = _bytes(row["bytes_to_train"]) if row["bytes_to_train"] else "-"
        count = _count(row["parameters"]) if row["parameters"] else "-"
        lines.append(
            f"  {row['task']:<9}{row['family'][:13]:<14}{count:>8}  {row['input'][:13]:<14}"
            f"{row['license'][:13]:<14}{memory:>9}  {'yes' if row['here'] else 'no'}"
        )
    told = "explain one: ngp models NAME; choose on your data: ngp choose recipe.yaml"
    return "\n".join([*lines, "", told, *_wrapped(_MORE)])


def model_text(row: Mapping[str, Any]) -> str:
    """Return all that is known of one model."""
    lines = [str(row["name"])]
    facts = {
        "task": row["task"],
        "family": row["family"],
        "source": row["source"],
        "licence": row["license"] + (f" ({row['caution']})" if row.get("caution") else ""),
        "weights": f"{row['parameters']:,}" if row["parameters"] else "not known before it is loaded",
        "input": row["input"],
        "memory": f"{_bytes(row['bytes_to_load'])} to load, {_bytes(row['bytes_to_train'])} or more to train all "
        f"weights, {_bytes(row['bytes_to_probe'])} for the head alone (estimates)",
        "here": "yes, on this machine" if row["here"] else "no, it would be fetched",
        "labels": ", ".join(map(str, row.get("labels") or ())),
        "about": row.get("description", ""),
    }
    facts |= {
        str(key): value if isinstance(value, str) else json.dumps(value)
        for key, value in (row.get("facts") or {}).items()
        if key not in _MACHINE_FACTS
    }
    for key, value in facts.items():
        text = str(value)
        shown = text if len(text) <= _LONGEST_FACT else f"{text[:_LONGEST_FACT]} ... (--json has all)"
        if text:
            lines += textwrap.wrap(f"{key}: {shown}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
    how = f"start from it: model.start: {row['name']}, or: ngp fit recipe.yaml --from {row['name']}"
    return "\n".join([*lines, *_wrapped(how)])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH // 2 - 2]} ... {text[-(_WIDTH // 2 - 3) :]}"


def _count(count: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def _answer_time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bytes(count: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 10 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f} B"
