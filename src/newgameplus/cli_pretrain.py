"""The verb of the command line that goes on with pretraining on recordings or maps without labels."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from newgameplus.console import Answered, answer

__all__ = ["pretrain"]


def pretrain(
    recipe: Annotated[Path, typer.Argument(help="The recipe, of the behavior or the scene scenario.")],
    data: Annotated[
        Path | None, typer.Option(help="Recordings or maps without labels; default as in the recipe.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps; default as in the recipe.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Longest time to train.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="What to go on with, instead of the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the result; default runs/<name>-pretrained.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be read, and say what.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Go on with pretraining on your recordings or maps without labels."""

    def work() -> Answered:
        from newgameplus import verbs

        result = verbs.pretrain(recipe, data, out, steps=steps, minutes=minutes, start=start, skip_bad=skip_bad)
        result["next"] = result["next"].replace("RECIPE", shlex.quote(str(recipe)), 1)
        return result, pretraining_text(result)

    answer("pretrain", as_json, work, lambda: "run the same command again to go on")


def pretraining_text(result: dict[str, Any]) -> str:
    """Return what people read of a pretraining."""
    what = next(kind for kind in ("levels", "clips", "sequences") if kind in result)
    learned = f"{result['steps']} steps on {result[what]} {what} in {result['seconds']:.0f} s"
    lines = [result["sentence"], f"{learned}; the model is in {result['folder']}"]
    if result["left_out"]:
        lines.append(f"left out {len(result['left_out'])}; pretrain.json says why")
    return "\n".join([*lines, f"next: {result['next']}"])
