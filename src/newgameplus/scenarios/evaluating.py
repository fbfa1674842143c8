"""Evaluating a saved run: by whatever its scenario is judged by; what a scenario does not know is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from newgameplus.errors import RunError
from newgameplus.run import Run

__all__ = ["evaluate"]


def evaluate(
    run: Run,
    data: str | Path | None = None,
    *,
    labels: str | None = None,
    skip_bad: bool = False,
    samples: int | None = None,
    seed: int | None = None,
    games: Sequence[str] | None = None,
    episodes: int | None = None,
) -> dict[str, Any]:
    """Evaluate a saved run; see :func:`newgameplus.verbs.evaluate` for what each argument means.

    Raises:
        RunError: The run has no model, or something was given that its scenario does not know.
    """
    if run.recipe.scenario == "agent":
        _refuse(run, {"DATA": data, "--labels": labels, "--skip-bad": skip_bad or None, "--samples": samples})
        from newgameplus.scenarios.agent_evaluation import evaluate_agent_run

        return evaluate_agent_run(run, games=games, episodes=episodes, seed=seed)
    _refuse(run, {"--on": games, "--episodes": episodes})
    if run.recipe.scenario == "scene":
        _refuse(run, {"--labels": labels, "--skip-bad": skip_bad or None})
        from newgameplus.scenarios.scene_evaluation import evaluate_scene_run

        if samples is not None and samples < 1:
            raise RunError(f"{samples} levels to make", source=f"--samples {samples}", remedy="give 1 or more")
        return evaluate_scene_run(run, data, samples=samples, seed=seed)
    _refuse(run, {"--samples": samples, "--seed": seed})
    if data is None:
        message = "a behavior run is evaluated on labelled clips, and none are named"
        raise RunError(message, source=str(run.folder), remedy=f"name them: ngp evaluate {run.quoted} CLIPS")
    from newgameplus.scenarios.behavior_evaluation import evaluate_run

    return evaluate_run(run, data, labels=labels, skip_bad=skip_bad)


def _refuse(run: Run, options: Mapping[str, Any]) -> None:
    """Raise a ``RunError`` for every option given that a run's scenario does not know."""
    given = [name for name, value in options.items() if value is not None]
    message = f"{', '.join(given)}: not known to runs of the {run.recipe.scenario} scenario"
    if given:
        raise RunError(message, source=str(run.folder), remedy=f"leave out {', '.join(given)}")
