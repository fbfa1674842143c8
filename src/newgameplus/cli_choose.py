"""The verbs of the command line that find and choose what to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from newgameplus import cli_choice_text
from newgameplus.cli_choose_text import choice_text, model_text, models_text
from newgameplus.console import Answered, answer

__all__ = ["choose", "models"]

_Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def choose(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    candidates: Annotated[
        list[str] | None,
        typer.Option("--candidates", help="A model to choose from, instead of the recipe's; may be repeated."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the best are tried for longer.")] = 3,
    no_short_run: Annotated[bool, typer.Option("--no-short-run", help="Let estimates alone decide.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write; default choose.json beside the recipe.")] = None,
    as_json: _Json = False,
) -> None:
    """Rank pretrained models on your own data: estimates, short fine-tuning, cost, advice."""

    def work() -> Answered:
        from newgameplus import verbs

        result = verbs.choose(recipe, candidates=candidates, top=top, short_run=not no_short_run, out=out)
        given = shlex.quote(str(recipe))
        result |= {"next": f"ngp fit {given} --from {shlex.quote(result['name'])}"}
        scenario = result["scenario"]
        of_clips = scenario == "behavior"
        return result, choice_text(result) if of_clips else cli_choice_text.choice_text(result, scenario)

    answer("choose", as_json, work, lambda: "run the same command again; features are kept")


def models(
    name: Annotated[str | None, typer.Argument(help="A model to explain; without one all are listed.")] = None,
    family: Annotated[str | None, typer.Option(help="Only this family, such as vit or resnet.")] = None,
    source: Annotated[str | None, typer.Option(help="Only from this source, such as bundled or keras.")] = None,
    task: Annotated[Literal["behavior", "scene", "agent"] | None, typer.Option(help="Only for this scenario.")] = None,
    license_: Annotated[str | None, typer.Option("--license", help="Only under this licence, such as mit.")] = None,
    max_parameters: Annotated[
        str | None, typer.Option("--max-parameters", help="Only up to this many weights, such as 5M.")
    ] = None,
    use: Annotated[
        Literal["any", "research", "commercial"], typer.Option(help="Leave out what its licence forbids for this use.")
    ] = "any",
    here: Annotated[bool, typer.Option("--here", help="Only what is on this machine.")] = False,
    as_json: _Json = False,
) -> None:
    """List what can be started from, or explain one model."""

    def work() -> Answered:
        from newgameplus import verbs

        if name is not None:
            found = verbs.model(name)
            return {"model": found}, model_text(found)
        rows = verbs.models(
            family=family, source=source, task=task, license=license_, max_parameters=max_parameters, use=use, here=here
        )
        return {"models": rows}, models_text(rows)

    answer("models", as_json, work)
