"""How results of the command line look as text: tables for people, at most 80 columns wide."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from newgameplus.console import Answered
from newgameplus.errors import RunError

__all__ = [
    "PREDICTION_FORMS",
    "check_scenes_text",
    "comparison_text",
    "demo_told",
    "evaluation_text",
    "finished",
    "generation_text",
    "plan_text",
]

_MOST_LEFT_OUT = 20
_MOST_LEVELS = 200
_RESTORE = "restore it from a copy, or fit again into another folder"


def finished(run: Any) -> Answered:
    """Tell about a finished run: its table, and where model and report lie.

    Raises:
        RunError: Its evaluation is missing or damaged.
    """
    from newgameplus.launched import is_main
    from newgameplus.run import read_json

    if not is_main():  # the main process holds the run, and tells
        return {}, ""
    path, report = run.folder / "evaluation.json", run.folder / "report.html"
    evaluation = read_json(path)
    try:
        table = evaluation_text(evaluation)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"this is no evaluation ({error!r})", source=str(path), remedy=_RESTORE) from error
    there = report.is_file()
    result = {"run": str(run.folder), "report": str(report) if there else None, "evaluation": evaluation}
    where = str(report) if there else f"missing; {_RESTORE.replace('it', 'report.html')}"
    return result, f"\n{table}\n\nmodel:  {run.model_folder}\nreport: {where}"


def demo_told(demo: Any) -> Answered:
    """Tell about all chapters of a finished demo, and where everything lies."""
    behavior, behavior_text = finished(demo.behavior)
    scenes, scenes_text = finished(demo.scenes)
    levels = f"\n\n{generation_text(demo.levels)}" if demo.levels is not None else ""
    first = f"\nNaming what a character does\n{behavior_text}"
    second = f"Making levels like a designer's\n{scenes_text}{levels}"
    agent, agent_text = finished(demo.agent)
    third = f"Playing a new game, and not forgetting the old ones\n{agent_text}"
    result = behavior | {"scenes": scenes, "levels": demo.levels, "agent": agent}
    return result, f"{first}\n\n\n{second}\n\n\n{third}"


def evaluation_text(evaluation: Mapping[str, Any]) -> str:
    """Return an evaluation of any scenario as a table."""
    if evaluation.get("scenario") == "scene":
        from newgameplus.evaluate.scene_tables import scene_table

        return scene_table(evaluation)
    if evaluation.get("scenario") == "agent":
        from newgameplus.evaluate.agent_tables import agent_table

        return agent_table(evaluation)
    from newgameplus.evaluate.tables import text_table

    return text_table(dict(evaluation))


def comparison_text(comparison: Mapping[str, Any]) -> str:
    """Return a comparison of runs of any scenario as a table."""
    if comparison.get("scenario") == "scene":
        from newgameplus.evaluate.scene_runs import scene_runs_table

        return scene_runs_table(comparison)
    if comparison.get("scenario") == "agent":
        from newgameplus.evaluate.agent_runs import agent_runs_table

        return agent_runs_table(comparison)
    from newgameplus.evaluate.across_runs import comparison_table

    return comparison_table(dict(comparison))


def plan_text(plan: Mapping[str, Any]) -> str:
    """Return what ``check`` found out, for any scenario."""
    left_out = "".join(f"  left out   {p['source']}: {p['message']}\n" for p in plan["left_out"][:_MOST_LEFT_OUT])
    more = len(plan["left_out"]) - _MOST_LEFT_OUT
    left_out += f"  left out   ... and {more:,} more (all with --json)\n" if more > 0 else ""
    plans = {"scene": _scene_plan, "agent": _agent_plan}
    told = plans.get(str(plan.get("scenario")), _behavior_plan)(plan)
    shared = _processes(plan)
    return f"no problems found{' in the rest' if left_out else ''}\n{left_out}{told}{shared}"


def _processes(plan: Mapping[str, Any]) -> str:
    from newgameplus.evaluate.tables import wrap

    lines = wrap(f"  processes  {plan['processes']}", " " * 13) if "processes" in plan else []
    return "".join(f"\n{line}" for line in lines)


def _behavior_plan(plan: Mapping[str, Any]) -> str:
    classes = ", ".join(f"{label} {count}" for label, count in plan["classes"].items())
    split = ", ".join(f"{count} {part}" for part, count in plan["split"].items())
    epochs = ", ".join(f"{count} {phase}" for phase, count in plan["epochs"].items())
    memory, cache = plan["estimated_memory_bytes"] / 2**20, plan["cache_bytes"] / 2**20
    one_of = f"             {told}\n" if (told := _candidates(plan)) else ""
    return (
        f"  clips      {split}; {plan['groups']} groups\n"
        f"  classes    {classes}\n"
        f"  model      {plan['model']}, {plan['parameters']:,} weights, "
        f"{plan['trainable_parameters']:,} may move ({plan['strategy']})\n"
        f"{one_of}"
        f"  training   {plan['steps']} steps: epochs {epochs}\n"
        f"  estimates  {plan['estimated_seconds'] / 60:.1f} min with all baselines, {memory:,.0f} MiB of memory,\n"
        f"             {cache:,.0f} MiB of disk for decoded frames"
    )


def _candidates(plan: Mapping[str, Any]) -> str:
    """Say that the model of the plan is one of several."""
    count, left_out = len(plan.get("candidates", ())), len(plan.get("models_left_out", ()))
    if count < 2 and not left_out:
        return ""
    told = f", {left_out} left out (why: --json)" if left_out else ""
    return f"{f'first of {count} candidates' if count > 1 else 'the one candidate'}{told}; see ngp choose"


def _scene_plan(plan: Mapping[str, Any]) -> str:
    split = ", ".join(f"{count} {part}" for part, count in plan["split"].items())
    rows = {
        "maps": f"{split}; {plan['format']}, {plan['sizes']}",
        "layers": ", ".join(plan["layers"]) or "one",
        "tiles": f"{plan['tiles']} in use",
        "rules": _rules_text(plan),
        "measures": ", ".join(plan["measures"]) or "none",
        "model": _model(plan),
        "training": f"{plan['steps']:,} steps of {plan['batch_size']} windows; {plan['tokens']:,} tiles to learn from",
    }
    return _plan_rows(rows, plan)


def _agent_plan(plan: Mapping[str, Any]) -> str:
    shown = plan["demonstrations"]
    demonstrations = f"{shown['learned']} to learn from ({shown['steps']:,} steps), {shown['held_out']} held out"
    rows = {
        "game": f"{plan['environment']}, {plan['game_steps_per_second']:,} steps/s here",
        "policy": "; ".join(plan["spaces"]),
        "examples": demonstrations if shown["learned"] else "no demonstrations",
        "model": _model(plan),
        "training": f"{plan['steps']:,} steps of the game; retention: {', '.join(plan['retention']) or 'none'}",
    }
    return _plan_rows(rows, plan)


def _model(plan: Mapping[str, Any]) -> str:
    told = _candidates(plan)
    return f"{plan['model']}, {plan['parameters']:,} weights ({plan['strategy']}){f'; {told}' if told else ''}"


def _plan_rows(rows: Mapping[str, str], plan: Mapping[str, Any]) -> str:
    """Lay out what a plan says, then what it will cost and what there is to note."""
    from newgameplus.evaluate.tables import wrap

    estimates = (
        f"{plan['estimated_seconds'] / 60:.1f} min with all baselines, "
        f"{plan['estimated_memory_bytes'] / 2**20:,.0f} MiB of memory, "
        f"{plan['estimated_disk_bytes'] / 2**20:,.0f} MiB of disk"
    )
    told = [*rows.items(), ("estimates", estimates), *(("note", note) for note in plan["notes"])]
    return "\n".join(line for name, text in told for line in wrap(f"  {name:<10} {text}", " " * 13))


def _rules_text(plan: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in plan["solved"].items() if count)
    return f"{plan['rules']}: {counts or 'no map looked at'}"


def check_scenes_text(report: Mapping[str, Any]) -> str:
    """Return what ``check-scenes`` found, a line or more for each level."""
    from newgameplus.evaluate.tables import shorten, wrap

    rows = sorted(report["levels"], key=lambda row: row["status"] == "playable" and not row["flaws"])
    shown = rows[:_MOST_LEVELS] if len(rows) > _MOST_LEVELS else report["levels"]
    width = max([5, *(min(24, len(row["name"])) for row in shown)])
    lines = [f"{'level':<{width}}  {'size':<9}  {'status':<10}  {'path':>5}  reason"]
    for row in shown:
        size = "" if row["height"] is None else f"{row['height']}x{row['width']}"
        length = "" if row["path_length"] is None else f"{row['path_length']}"
        head = f"{_fill(shorten(row['name'], width), width)}  {size:<9}  {row['status']:<10}  {length:>5}  "
        reasons = [row["reason"]] if row["reason"] else []
        reasons += [f"broken {flaw['kind']}: {flaw['message']}" for flaw in row["flaws"][:3]]
        reasons += [f"and {len(row['flaws']) - 3} more flaws"] if len(row["flaws"]) > 3 else []
        lines += _beside(head, reasons)
    if len(rows) > len(shown):
        lines.append(f"... and {len(rows) - len(shown):,} more (all with --json)")
    counts = ", ".join(f"{count} {name}" for name, count in report["counts"].items() if count)
    lines += ["", *wrap(f"rules {report['rules']!r}: {counts}")]
    lines += wrap(f"rules guessed: {report['guessed']}; name others with --rules") if report["guessed"] else []
    lines += [line for note in report["notes"] for line in wrap(f"note: {note}")]
    return "\n".join(lines + ([f"pictures and report.json: {report['out']}"] if report["out"] else []))


def _fill(text: str, width: int) -> str:
    from rich.cells import cell_len

    return text + " " * (width - cell_len(text))


def _beside(head: str, texts: Sequence[str]) -> list[str]:
    """Lay texts beside a head, or below it where little room is left."""
    room = 79 - len(head)
    lines = [part for text in texts for part in textwrap.wrap(text, max(room, 24), break_on_hyphens=False)]
    if not lines or room >= 24:
        first, *rest = lines or [""]
        return [f"{head}{first}".rstrip(), *(f"{'':<{len(head)}}{line}" for line in rest)]
    return [head.rstrip(), *(f"    {line}" for text in texts for line in textwrap.wrap(text, 75))]


def generation_text(result: Mapping[str, Any]) -> str:
    """Return what ``generate`` delivered: each level with its values, and the honest count."""
    from newgameplus.evaluate.tables import wrap

    lines = [line for level in result["levels"][:_MOST_LEVELS] for line in wrap(_level_text(level))]
    more = len(result["levels"]) - _MOST_LEVELS
    lines += [f"... and {more:,} more (all with --json)"] if more > 0 else []
    if result.get("raw"):
        told = f"{result['playable']} of {result['asked']} raw samples can be played; none was mended or chosen"
        where = [f"levels and pictures: {result['folder']}"] if result["folder"] else []
        return "\n".join([*lines, "", told, *where])
    each = f", {result['seconds_per_level']:.2g} s a level" if result["seconds_per_level"] else ""
    told = f"{result['delivered']} of {result['asked']} levels delivered: {result['samples']} samples, "
    lines += ["", *wrap(f"{told}{result['repairs']} repairs{each}")]
    failed = ", ".join(f"{why} ({times} times)" for why, times in result["failures"].items())
    lines += wrap(f"samples given up: {failed}") if failed else []
    return "\n".join([*lines, *([f"levels and pictures: {result['folder']}"] if result["folder"] else [])])


def _level_text(level: Mapping[str, Any]) -> str:
    parts = [f"{level['height']}x{level['width']}"]
    parts += [f"cannot be played: {level['reason'] or 'undecided'}"] if not level["playable"] else []
    for name, (low, high) in level["requested"].items():
        asked = f"{low:g}" if low == high else f"{low:g}..{high:g}"
        got = level["achieved"].get(name)
        parts.append(f"{name} {'unknown' if got is None else f'{got:g}'} (asked {asked})")
    nearest = level["nearest"]
    parts += [f"{nearest['distance']} tiles from {nearest['name']}"] if nearest["name"] else []
    return f"{level['name']}: {', '.join(parts)}"


def _as_table(rows: list[dict[str, Any]]) -> str:
    lines = []
    path = None
    for row in rows:
        if row["path"] != path:
            path = row["path"]
            lines += [path, "    start      end  probability  label"]
        lines.append(f"{row['start']:9.3f}{row['end']:9.3f}{row['probability']:13.3f}  {row['label']}")
    return "\n".join(lines)


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["path", "start", "end", "label", "probability"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _as_json_lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


#: How predictions can be printed.
PREDICTION_FORMS: Mapping[str, Callable[[list[dict[str, Any]]], str]] = MappingProxyType(
    {"table": _as_table, "csv": _as_csv, "jsonl": _as_json_lines}
)
