"""How playing, surgery and recording look as text, at most 80 columns wide; and how their options are read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from newgameplus.errors import Problem, RecipeError, raise_problems

__all__ = ["play_text", "read_options", "recording_text", "surgery_text"]


def read_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """Read ``KEY=VALUE`` options of an environment; values are read as YAML reads them.

    Raises:
        RecipeError: One is no such pair.
    """
    found: dict[str, Any] = {}
    problems = []
    for text in texts or ():
        key, equals, value = text.partition("=")
        try:
            if not equals or not key.strip():
                raise yaml.YAMLError("no =")
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            problems.append(Problem(f"{text!r} is no option", "--option", "write KEY=VALUE, such as size=8"))
    raise_problems(problems, RecipeError, "options cannot be read")
    return found


def play_text(played: Mapping[str, Any]) -> str:
    """Return a table of returns with intervals."""
    lines = [f"{'episode':>7}  {'seed':>8}  {'return':>10}  {'steps':>7}  success"]
    for number, row in enumerate(played["episodes"][:50], 1):
        success = {True: "yes", False: "no", None: "-"}[row["success"]]
        lines.append(f"{number:>7}  {row['seed']:>8}  {row['return']:>10.4g}  {row['steps']:>7}  {success}")
    if (more := len(played["episodes"]) - 50) > 0:
        lines.append(f"... and {more:,} more (all with --json)")
    lines.append("")
    for name, what in (("return", played["return"]), ("success", played.get("success"))):
        if what is not None:
            lines.append(f"mean {name} {what['value']:.4g} ({what['low']:.4g} to {what['high']:.4g})")
    lines += _strength_lines(played)
    if played.get("video"):
        lines.append(f"video: {played['video']}")
    return "\n".join(lines)


def _strength_lines(played: Mapping[str, Any]) -> list[str]:
    strength = played.get("strength")
    if not strength:
        return []
    lines = ["", f"{'level':>6}  {'score':>10}  {'interval':<22}  settings"]
    for row in strength["table"]:
        interval = f"{row['low']:.4g} to {row['high']:.4g}"
        nearest = "" if row["reached"] else " (nearest measured)"
        lines.append(f"{row['level']:>6.2f}  {row['score']:>10.4g}  {interval:<22}  {row['settings']}{nearest}")
    lines += [f"played at level {strength['level']:g}: {strength['settings']}"]
    return [*lines, *strength.get("notes", [])]


def surgery_text(done: Mapping[str, Any]) -> str:
    """Return the plan of an operation, its proof, and the score at step 0."""
    lines = [done["plan_text"]]
    if "proof_text" in done:
        lines += ["", done["proof_text"]]
    if done.get("score") is not None:
        score = done["score"]
        lines += ["", f"return at step 0: {score['value']:.4g} ({score['low']:.4g} to {score['high']:.4g})"]
    if done.get("run"):
        lines += [
            "",
            f"run folder: {done['run']}",
            f"next: ngp fit recipe.yaml --from {shlex.quote('run:' + done['run'])}",
        ]
    return "\n".join(lines)


def recording_text(made: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> str:
    """Return what a recording holds.

    Args:
        made: What recording gave.
        options: Those of the game, for the command that goes on from here.
    """
    from newgameplus.scenarios.agent_data import option_words

    told = [f"{made['episodes']} episodes, {made['steps']:,} steps in {made['folder']}"]
    low, high, mean = (made["returns"][name] for name in ("low", "high", "mean"))
    told.append(f"returns {low:.4g} to {high:.4g}, mean {mean:.4g}")
    if made.get("successes") is not None:
        told.append(f"{made['successes']} of {made['episodes']} reached the goal")
    words = ["--env", made["environment"], *option_words(options or {}), "--demos", made["folder"]]
    told.append(f"next: ngp init agent {shlex.join(words)} > recipe.yaml")
    return "\n".join(told)
