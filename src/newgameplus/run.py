"""The run folder: everything that one fine-tune leaves, written so that it survives any interruption.

A run is never overwritten. Its ``checkpoints/`` hold one file per finished or half-finished piece of training; a
resumed run reads them and goes on exactly where they stopped.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import platform
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from newgameplus import __version__, progress
from newgameplus.errors import DataError, RecipeError, RunError
from newgameplus.files import storage_errors, write_bytes, write_json, write_text
from newgameplus.recipe import AnyRecipe, dump_recipe, parse_recipe

__all__ = ["REDO", "Run", "describe_environment", "read_json"]

REDO = "delete this file, and ngp resume does that part again"
"""Remedy for a damaged checkpoint."""
_LOCK = ".lock"


def describe_environment(seed: int) -> dict[str, Any]:
    """Return versions, seed, hardware and git revision, as plain data."""
    import importlib.metadata
    import os

    import psutil

    versions = {}
    for package in ("torch", "numpy", "av", "accelerate", "safetensors", "scikit-learn", "transformers", "vizdoom"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "newgameplus": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor_cores": os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "packages": versions,
        "seed": seed,
        "git": _git_revision(),
        "command": " ".join(Path(part).name if index == 0 else part for index, part in enumerate(sys.argv)),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git_revision() -> str:
    import subprocess

    git = shutil.which("git")
    if git is None:
        return ""
    found = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() if found.returncode == 0 else ""


class Run:
    """One run folder.

    Attributes:
        folder: Where it lies.
        recipe: The resolved recipe.
        environment: Versions, seed and hardware of the first start.
    """

    def __init__(self, folder: Path, recipe: AnyRecipe, environment: Mapping[str, Any]) -> None:
        self.folder, self.recipe, self.environment = folder, recipe, dict(environment)
        self._made = False

    @classmethod
    def create(cls, recipe: AnyRecipe, folder: Path | None = None) -> Run:
        """Make a new run folder, by default ``<runs>/<date>-<name>``.

        Raises:
            RunError: The folder holds something already.
            StorageError: It cannot be written.
        """
        date = datetime.date.today().isoformat()
        folder = folder or Path(recipe.runs) / f"{date}-{recipe.name}"
        made = not folder.exists()
        environment = describe_environment(recipe.seed)
        with storage_errors(folder):
            _refuse_taken(folder)
            folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _refuse_taken(folder)  # another process may have been faster
            write_json(folder / "environment.json", environment)
            write_text(folder / "recipe.yaml", dump_recipe(recipe))
        run = cls(folder, recipe, environment)
        run._made = made
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open an existing run folder.

        Raises:
            RunError: It is not a run folder, or its recipe is damaged.
        """
        folder = Path(folder)
        recipe_path = folder / "recipe.yaml"
        if not recipe_path.is_file():
            remedy = "a run folder holds recipe.yaml; list yours with: ls runs"
            raise RunError("this is not a run folder: no recipe.yaml in it", source=str(folder), remedy=remedy)
        try:
            recipe = parse_recipe(recipe_path.read_text(encoding="utf-8"), source=str(recipe_path))
        except (OSError, UnicodeDecodeError, RecipeError) as error:
            remedy = "restore recipe.yaml from a copy, or fit again into another folder"
            why = error.problems if isinstance(error, RecipeError) else ()
            message = "the recipe of this run is damaged" if why else f"the recipe of this run cannot be read: {error}"
            raise RunError(message, source=str(recipe_path), remedy=remedy, problems=why) from error
        return cls(folder, recipe, _read_environment(folder / "environment.json"))

    @property
    def quoted(self) -> str:
        """The folder as it may be typed into a shell."""
        return shlex.quote(str(self.folder))

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def finished(self) -> bool:
        """Whether the evaluation is written, which is the last thing a fit does."""
        return (self.folder / "evaluation.json").is_file()

    @property
    def model_folder(self) -> Path:
        """Where the fine-tuned model lies."""
        return self.folder / "model"

    def checkpoint(self, stage: str) -> Path:
        """Path of the checkpoint of one piece of training, such as ``fine-tuned``."""
        return self.folder / "checkpoints" / f"{stage}.safetensors"

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run for this process, and keep its log, while the block runs.

        Raises:
            RunError: Another process works on it.
        """
        with _locked(self.folder), progress.listening(self.log):
            yield

    def discard_if_unused(self) -> None:
        """Remove the folder if nothing was worked out in it yet, so that its name is free again."""
        checkpoints = self.folder / "checkpoints"
        begun = {path.name for path in checkpoints.glob("*")} - {"data.json", "candidates.json"}
        if begun or self.model_folder.exists() or self.finished:
            return
        with contextlib.suppress(OSError):
            shutil.rmtree(checkpoints, ignore_errors=True)
            shutil.rmtree(self.folder / "start", ignore_errors=True)  # an agent's start, as it came
            for name in ("recipe.yaml", "environment.json", "log.txt", _LOCK):
                (self.folder / name).unlink(missing_ok=True)
            if self._made:
                self.folder.rmdir()

    def log(self, message: str) -> None:
        """Append a line with the time to ``log.txt``."""
        now = datetime.datetime.now().isoformat(timespec="seconds")
        with storage_errors(self.folder), self._log_file() as handle:
            handle.write(f"{now} {message}\n")

    def _log_file(self) -> IO[str]:
        return (self.folder / "log.txt").open("a", encoding="utf-8", errors="backslashreplace")

    def keep_note(self, name: str, content: Any) -> Any:
        """Keep plain data under ``checkpoints/<name>.json`` so that a resumed run decides the same."""
        write_json(self.folder / "checkpoints" / f"{name}.json", content)
        return content

    def note(self, name: str) -> Any:
        """Return what :meth:`keep_note` kept, or None.

        Raises:
            RunError: It is damaged.
        """
        path = self.folder / "checkpoints" / f"{name}.json"
        return read_json(path, remedy=REDO) if path.is_file() else None

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Turn errors about the content of a note into a ``RunError`` that names its file."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
            path = self.folder / "checkpoints" / f"{name}.json"
            raise RunError(f"this file is damaged ({error!r})", source=str(path), remedy=REDO) from error

    def write_metrics(self, arm: str, rows: list[dict[str, Any]]) -> None:
        """Replace the rows of one arm in ``metrics.jsonl`` by these, in the order in which arms first came."""
        others = [row for row in self.metrics() if row.get("arm") != arm]
        content = "".join(json.dumps(row) + "\n" for row in [*others, *rows])
        write_bytes(self.folder / "metrics.jsonl", content.encode())

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``."""
        path = self.folder / "metrics.jsonl"
        if not path.is_file():
            return []
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("a line is no object")
        except (OSError, ValueError) as error:
            remedy = "delete this file and go on: only learning curves of parts that are finished are lost"
            raise RunError(f"cannot be read: {error}", source=str(path), remedy=remedy) from error
        return rows

    def prune(self) -> None:
        """Remove the checkpoints, once what they led to is written."""
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)

    def next_file(self, folder: str, suffix: str) -> Path:
        """Return a path ``<folder>/<number><suffix>`` that is not taken yet."""
        taken = sorted((self.folder / folder).glob(f"*{suffix}"))
        return self.folder / folder / f"{len(taken) + 1:03d}{suffix}"


def _refuse_taken(folder: Path) -> None:
    """Raise a ``RunError`` if there is anything in a folder but what a fit leaves that was stopped at once."""
    ours = {_LOCK, "environment.json", "first-failing-map.png"}
    taken = folder.exists() and (
        not folder.is_dir() or any(path.name not in ours and path.suffix != ".partial" for path in folder.iterdir())
    )
    if taken:
        go_on = (
            f"go on with it: ngp resume {shlex.quote(str(folder))}; or " if (folder / "recipe.yaml").exists() else ""
        )
        remedy = f"{go_on}choose another folder (--out) or another name in the recipe"
        raise RunError("this run folder exists, and nothing is overwritten", source=str(folder), remedy=remedy)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; the system lets go of it when the process ends, however it ends."""
    with storage_errors(folder):
        lock = (folder / _LOCK).open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            remedy = "wait until it ends, or stop it"
            raise RunError("another process works on this run", source=str(folder), remedy=remedy) from error
        except OSError as error:
            remedy = "choose a run folder on a local disk (--out)"
            raise RunError(f"cannot be locked ({error.strerror})", source=str(folder), remedy=remedy) from error
        yield


def _read_environment(path: Path) -> dict[str, Any]:
    """Return what is known of the first start; it is told in the report only, so a damaged file stops nothing."""
    try:
        content = read_json(path) if path.is_file() else {}
        if not isinstance(content, dict):
            raise RunError("this file is damaged", source=str(path))
    except RunError as error:
        progress.say(f"note: {error.source}: {error.message}; the report will lack it")
        return {}
    return content


def read_json(path: Path, remedy: str = "restore it from a copy, or fit again into another folder") -> Any:
    """Read a JSON file of a run.

    Raises:
        RunError: It is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"cannot be read: {why}", source=str(path), remedy=remedy) from error
