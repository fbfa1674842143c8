"""The verb of the command line that lets a model leave: ``ngp export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from newgameplus.console import Answered, answer

__all__ = ["export"]

_Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def export(
    run: Annotated[Path, typer.Argument(help="A finished run of any scenario.")],
    out: Annotated[Path, typer.Option(help="New file (.onnx), or new folder (tensorflow).")],
    to: Annotated[str, typer.Option(help="Format: onnx or tensorflow (a SavedModel).")] = "onnx",
    data: Annotated[
        Path | None, typer.Option(help="Behavior runs: clips to check with, by default the run's own test clips.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest difference allowed, as a share of the largest number of an output.")
    ] = 1e-4,
    as_json: _Json = False,
) -> None:
    """Write a fine-tuned model for engines and servers, checked against the run on real inputs."""

    def work() -> Answered:
        from newgameplus import verbs

        done = verbs.export(run, out, to=to, data=data, tolerance=tolerance)
        return done, _text(done)

    answer("export", as_json, work, lambda: "run the same command again: nothing was kept")


def _text(done: dict[str, Any]) -> str:
    parity = done["parity"]
    megabytes = done["bytes"] / 1e6
    lines = [f"{', '.join(done['files'])}: {megabytes:.1f} MB, any batch size"]
    for name in ("inputs", "outputs"):
        for one in done[name]:
            shape = f" {one['dtype']} [{', '.join(map(str, one['shape']))}]" if "shape" in one else ""
            lines.append(f"  {name[:-1]} {one['name']}{shape}: {one['meaning']}")
    lines.append(
        f"checked on {parity['samples']} {parity['origin']}, batches of {', '.join(map(str, parity['batch_sizes']))}:"
    )
    for name, found in parity["outputs"].items():
        lines.append(
            f"  {name}: largest difference {found['max_difference']:.2g} of numbers up to {found['scale']:.3g}"
        )
    lines.append(f"licence of the start: {done['license']}")
    return "\n".join(lines)
