"""Comparing finished runs: of one scenario, whichever it is, by what its runs keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from newgameplus.errors import RunError
from newgameplus.run import Run, read_json

__all__ = ["compare"]


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Compare finished runs of one scenario, with intervals.

    Args:
        runs: Two or more; the others are held against the first.

    Raises:
        RunError: One is not finished or damaged, or they are runs of different scenarios.
        DataError: They share no test data, or their labels differ.
    """
    scenarios = {run.recipe.scenario: run for run in runs}
    if len(scenarios) > 1:
        told = ", ".join(f"{run.folder} ({name})" for name, run in scenarios.items())
        raise RunError(f"runs of different scenarios: {told}", source="runs", remedy="compare runs of one scenario")
    if "scene" in scenarios:
        from newgameplus.evaluate.scene_runs import compare_scene_runs

        return _compared(_evaluations(runs), compare_scene_runs)
    if "agent" in scenarios:
        from newgameplus.evaluate.agent_runs import compare_agent_runs

        return _compared(_evaluations(runs), compare_agent_runs)
    from newgameplus.evaluate.across_runs import compare_runs
    from newgameplus.scenarios.behavior_evaluation import read_predictions

    return compare_runs(read_predictions([run.folder for run in runs]))


def _evaluations(runs: Sequence[Run]) -> dict[str, Any]:
    """Read the evaluation of each run.

    Raises:
        RunError: One is not finished.
    """
    for run in runs:
        if not run.finished:
            remedy = f"finish it: ngp resume {run.quoted}"
            raise RunError("this run is not finished", source=str(run.folder), remedy=remedy)
    return {str(run.folder): read_json(run.folder / "evaluation.json") for run in runs}


def _compared(evaluations: dict[str, Any], compare_them: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    try:
        return compare_them(evaluations)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        folders, remedy = ", ".join(evaluations), "restore it from a copy, or fit again into another folder"
        raise RunError(f"an evaluation.json of these is damaged ({error!r})", source=folders, remedy=remedy) from error
