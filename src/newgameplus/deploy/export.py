"""Letting a fine-tuned model leave: written, checked against the torch model on real inputs, and only then kept."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from newgameplus import __version__, progress
from newgameplus.deploy.export_formats import ExportFormat, find_format
from newgameplus.deploy.export_models import open_exportable
from newgameplus.deploy.export_parity import TOLERANCE, Parity, check_parity, check_tolerance
from newgameplus.deploy.exportable import Exportable
from newgameplus.errors import ExportError, RunError
from newgameplus.files import digest_file, storage_errors
from newgameplus.run import Run

__all__ = ["export"]


def export(
    run: str | Path | Run,
    out: str | Path,
    *,
    to: str = "onnx",
    data: str | Path | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Write a fine-tuned model for an engine or a server.

    The result is checked against the torch model on real inputs, in batches of 1, 3 and 8; if they differ, nothing is
    kept.

    Args:
        run: A finished run.
        out: New file (ONNX) or folder (TensorFlow).
        to: Name of the format; see :data:`newgameplus.deploy.export_formats.EXPORT_FORMATS`.
        data: Real inputs to check with: clips for a behavior run, maps for a scene run. By default the run's own test
            data; an agent plays its own game for them.
        tolerance: Largest difference allowed, as a share of the largest number of each output.

    Returns:
        Format, files, bytes, inputs, outputs, the facts inside, and the result of the check.

    Raises:
        RunError: The run is not finished, its data are gone, or ``out`` exists.
        RecipeError: There is no such format, or the tolerance makes no sense.
        MissingExtraError: What writes the format is not installed.
        ExportError: The network cannot be expressed, or would answer differently.
        StorageError: There is no space or no permission.
    """
    tolerance = check_tolerance(tolerance)
    form = find_format(to)
    path = _fresh(Path(out), form)
    opened = run if isinstance(run, Run) else Run.open(run)
    if not opened.finished:
        remedy = f"finish it first: ngp resume {opened.quoted}"
        raise RunError("this run is not finished", source=str(opened.folder), remedy=remedy)
    form.require()
    model = open_exportable(opened, data)
    facts = _facts(model, opened, to)
    with _workplace(path) as place:
        progress.say(f"writing {path.name}")
        model.facts = facts
        form.write(model, place, path.name)
        progress.say(f"checking it on real inputs: {model.origin}")
        parity = check_parity(model, form.runner(place / path.name), tolerance=tolerance, what=form.title)
        form.describe(place / path.name, facts | {"parity": parity.as_dict()})
        files = _move(place, path)
    return _result(model, facts, parity, path, files)


def _fresh(path: Path, form: ExportFormat) -> Path:
    """Return where to write, if nothing stands there.

    Raises:
        RunError: Something does, or the name does not fit the format.
    """
    if path.name in ("", ".", "..") or (form.suffix and path.suffix.lower() != form.suffix):
        remedy = f"give it a name that ends with {form.suffix}" if form.suffix else "give it the name of a new folder"
        raise RunError(f"{str(path)!r} is no name of an {form.title}", source="--out", remedy=remedy)
    for taken in (path, _sidecar(path)):
        if os.path.lexists(taken):
            remedy = "choose another name (--out)"
            raise RunError("this exists, and nothing is overwritten", source=str(taken), remedy=remedy)
    return path


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")


@contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """Give a hidden folder beside ``path`` that is gone afterwards, whatever happens."""
    place = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir()
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _move(place: Path, path: Path) -> list[Path]:
    """Put what was written where it belongs: what lies beside the model first, so that a model is always whole."""
    written = sorted(place.iterdir(), key=lambda one: one.name == path.name)
    for one in written:
        for file in [one] if one.is_file() else [found for found in one.rglob("*") if found.is_file()]:
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
    moved: list[Path] = []
    try:
        for one in written:
            target = path.with_name(one.name)
            if os.path.lexists(target):  # somebody else was faster
                remedy = "choose another name (--out)"
                raise RunError("this exists, and nothing is overwritten", source=str(target), remedy=remedy)
            os.rename(one, target)
            moved.append(target)
    except BaseException:
        for one in moved:
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        raise
    return [path, *(one for one in moved if one != path)]


def _facts(model: Exportable, run: Run, to: str) -> dict[str, Any]:
    """Return what the exported model says about itself."""
    weights = run.model_folder / "model.safetensors"
    told: dict[str, Any] = json.loads(json.dumps(model.facts))
    return {
        "newgameplus": __version__,
        "format": to,
        "run": run.name,
        "digest": digest_file(weights),
        "inputs": [one.as_dict() for one in model.inputs],
        "outputs": [one.as_dict() for one in model.outputs],
        **told,
    }


def _result(model: Exportable, facts: dict[str, Any], parity: Parity, path: Path, files: list[Path]) -> dict[str, Any]:
    held = [file for one in files for file in ([one] if one.is_file() else one.rglob("*")) if file.is_file()]
    if not held:
        raise ExportError("nothing was written", source=str(path), remedy="run the same command again")
    return {
        "path": str(path),
        "files": [str(one) for one in files],
        "bytes": sum(file.stat().st_size for file in held),
        "source": model.source,
        **facts,
        "parity": parity.as_dict(),
    }
