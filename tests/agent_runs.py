"""Small runs of the agent scenario, quick enough for tests, and games that a test can spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from newgameplus.finetune import fit
from newgameplus.recipe import AgentRecipe
from newgameplus.run import Run

ARENA = "ngp/Arena-v0"
BAD = Path(__file__).parent / "games" / "bad_environments.py"
QUICK: dict[str, Any] = {
    "environment": {"id": ARENA, "count": 8},
    "model": {"actor": [16], "critic": [16]},
    "clone": {"epochs": 3, "batch_size": 64},
    "train": {"steps": 1024, "rollout": 32, "batch_size": 128, "epochs": 2, "checkpoints": 4},
    "retention": {"states": 200},
    "evaluate": {"episodes": 12, "resamples": 200},
}


def agent_recipe(place: Path, **parts: Any) -> AgentRecipe:
    """Return a recipe of a short run; parts are laid over what is usual."""
    settings: dict[str, Any] = {"name": "run", "runs": str(place / "runs"), **QUICK}
    for part, values in parts.items():
        usual = settings.get(part)
        settings[part] = {**usual, **values} if isinstance(usual, dict) and isinstance(values, dict) else values
    return AgentRecipe.model_validate(settings)


def agent_run(place: Path, name: str, *, start: str | None = None, **parts: Any) -> Run:
    """Fit a short run in ``place/name``."""
    return fit(agent_recipe(place, **parts), place / name, start=start)


def evaluation_of(run: Run) -> dict[str, Any]:
    """Return what a run's evaluation holds."""
    found: dict[str, Any] = json.loads((run.folder / "evaluation.json").read_text())
    return found


def arms_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return the arms of a run's evaluation by name."""
    return {arm["name"]: arm for arm in evaluation_of(run)["arms"]}


def without_times(content: Any) -> Any:
    """Return an evaluation without what a clock said."""
    if isinstance(content, dict):
        return {key: without_times(value) for key, value in content.items() if "second" not in key}
    return [without_times(value) for value in content] if isinstance(content, list) else content


def files_of(folder: Path) -> dict[str, int]:
    """Return when each file in a folder was last written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
