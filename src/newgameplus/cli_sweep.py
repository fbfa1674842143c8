"""``ngp sweep``: many fits of one recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from newgameplus.console import Answered, answer

__all__ = ["sweep"]


def sweep(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    over: Annotated[list[str], typer.Option("--over", help="KEY=VALUE,VALUE of the recipe; give it several times.")],
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/<date>-<name>-sweep.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Fits at a time on this machine; default one a core.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster: auto, ray://HOST:10001.")] = None,
    cpus: Annotated[float, typer.Option(min=0.1, help="Processor cores for each fit.")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0.0, help="GPUs for each fit.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Fit a recipe with every combination of settings, on a Ray cluster or here, and compare."""

    def work() -> Answered:
        from newgameplus import verbs
        from newgameplus.evaluate.sweep_report import sweep_table

        found = verbs.sweep(recipe, over, out=out, workers=workers, address=address, cpus=cpus, gpus=gpus)
        return found, f"\n{sweep_table(found)}\n\nreport: {Path(found['folder']) / 'report.html'}"

    answer("sweep", as_json, work, lambda: "every fit is kept as far as it came; go on with the same command")
