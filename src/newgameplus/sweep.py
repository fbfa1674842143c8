"""Many fits of one recipe: every combination of some settings, on a Ray cluster or on this machine, and one report.

Ray schedules: on a cluster with ``address``, else in local processes. Each fit is a run of its own, made by
:func:`newgameplus.finetune.fit`, so whatever stops a sweep leaves runs that can be resumed: the same command goes on.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import re
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from newgameplus import progress
from newgameplus.errors import (
    DataError,
    MissingExtraError,
    NewGamePlusError,
    Problem,
    RecipeError,
    RunError,
    raise_problems,
)
from newgameplus.files import write_json
from newgameplus.finetune import fit, read_recipe, resume
from newgameplus.recipe import AnyRecipe, dump_recipe, parse_recipe
from newgameplus.run import Run, read_json

__all__ = ["Settings", "read_over", "sweep"]

Settings = dict[str, Any]
_MOST_FITS = 10_000
_REMEDY = "give a key of the recipe and its values: --over train.learning_rate=1e-4,5e-4"


def read_over(over: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``KEY=VALUE,VALUE`` as a mapping; values are YAML, so ``[a, b]`` is one value.

    Raises:
        RecipeError: With every one that cannot be read.
    """
    found: dict[str, list[Any]] = {}
    problems = []
    for text in over:
        key, equals, values = text.partition("=")
        key = key.strip()
        try:
            read = yaml.safe_load(f"[{values}]")
        except (yaml.YAMLError, ValueError):
            read = None
        if not equals or not key or not read:
            problems.append(Problem("this names no values", f"--over {text}", _REMEDY))
        elif key in found:
            problems.append(Problem(f"{key} is given twice", f"--over {text}", "give all its values at once"))
        else:
            found[key] = read
    raise_problems(problems, RecipeError, f"{len(problems)} of --over cannot be read")
    return found


def sweep(
    recipe: AnyRecipe | str | Path,
    over: Mapping[str, Sequence[Any]] | Sequence[str],
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    cpus: float = 1.0,
    gpus: float = 0.0,
    compare: Callable[[list[Path]], str] | None = None,
) -> dict[str, Any]:
    """Fit a recipe with every combination of settings, or go on with a sweep, and compare.

    Args:
        recipe: A recipe, or the path of one.
        over: Values by dotted key, or texts such as ``train.learning_rate=1e-4,5e-4``; the key ``seed`` repeats each
            setting.
        out: Folder of the sweep, by default ``<runs>/<date>-<name>-sweep``; on a cluster, one that all its machines
            share. The same folder goes on with a sweep.
        workers: Fits at a time on this machine; default one a processor core. Not with ``address``.
        address: Address of a running Ray cluster (``auto``, ``ray://host:10001``).
        cpus: Processor cores that Ray sets aside for each fit.
        gpus: GPUs that Ray sets aside for each fit.
        compare: Says of finished runs how they differ from the first.

    Returns:
        JSON-safe data, as written to ``sweep.json``: ``{"scenario", "over", "runs": [...], "report": {...},
        "comparison", "folder"}``; see :mod:`newgameplus.evaluate.sweep_report`.

    Raises:
        RecipeError: With every problem of every combination; nothing was run.
        MissingExtraError: Ray is not installed.
        RunError: The folder holds something else.
    """
    recipe = _with_threads(read_recipe(recipe), cpus)
    over = over if isinstance(over, Mapping) else read_over(over)
    plans = _plan(recipe, over)
    ray = _import_ray()
    today = datetime.date.today().isoformat()
    folder = Path(recipe.runs) / f"{today}-{recipe.name}-sweep" if out is None else Path(out)
    _claim(folder, recipe, over)
    waiting = {name: plan for name, plan in plans.items() if not _is_finished(folder / "runs" / name)}
    progress.say(f"sweep: {len(plans)} fits, {len(plans) - len(waiting)} of them finished before; folder {folder}")
    failures: dict[str, str] = {}
    try:
        if waiting:
            with _cluster(ray, workers, address):
                failures = _run_all(ray, waiting, folder, cpus, gpus)
        return _conclude(folder, recipe, over, plans, failures, compare)
    except KeyboardInterrupt as stop:
        same = f"--out {shlex.quote(str(folder))}"  # the usual folder has another name tomorrow
        stop.add_note(f"every fit is kept as far as it came; go on with the same command and {same}")
        raise


def _with_threads(recipe: AnyRecipe, cpus: float) -> AnyRecipe:
    """Let a fit use as many threads as cores are set aside for it, where the recipe leaves their number open."""
    train = recipe.train
    if getattr(train, "threads", None) != "auto":
        return recipe
    changed = train.model_copy(update={"threads": max(1, int(cpus))})
    return recipe.model_copy(update={"train": changed})


def _plan(recipe: AnyRecipe, over: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Settings, AnyRecipe]]:
    """Return the recipe of every combination by the name of its run, all of them checked."""
    count = 1
    for values in over.values():
        count *= len(values)
    if not over or count > _MOST_FITS:
        raise RecipeError(f"{count if over else 0} fits asked for", source="--over", remedy=_REMEDY)
    problems: list[Problem] = []
    for key, values in over.items():  # each alone first, so that a mistake is told once
        for value in values:
            problems += _made(recipe, {key: value})[1]
    raise_problems(problems, RecipeError, f"the sweep has {len(problems)} problems")
    plans: dict[str, tuple[Settings, AnyRecipe]] = {}
    for number, chosen in enumerate(itertools.product(*over.values())):
        settings = dict(zip(over, chosen, strict=True))
        made, found = _made(recipe, settings)
        problems += found
        if made is not None:
            plans[_run_name(number, settings)] = (settings, made)
    raise_problems(problems, RecipeError, f"the sweep has {len(problems)} problems")
    return plans


def _made(recipe: AnyRecipe, settings: Settings) -> tuple[AnyRecipe | None, list[Problem]]:
    """Return a recipe with settings changed, or what is wrong with them."""
    from newgameplus.scenarios import known_names

    told = " ".join(f"--over {key}={value}" for key, value in settings.items())
    content: Any = recipe.model_dump(mode="json")
    for key, value in settings.items():
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section.setdefault(parent, {}) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            return None, [Problem(f"{key} names nothing that can be set", told, _REMEDY)]
        section[last] = value
    try:
        return parse_recipe(yaml.safe_dump(content, sort_keys=False), "sweep", known_names), []
    except RecipeError as error:
        return None, [Problem(problem.message, told, problem.remedy) for problem in error.problems]


def _run_name(number: int, settings: Settings) -> str:
    told = "-".join(f"{key.rpartition('.')[2]}={value}" for key, value in settings.items())
    return f"{number:03d}-{re.sub(r'[^A-Za-z0-9.=_-]+', '_', told)[:80]}"


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "sweep", "" if error.name == "ray" else str(error)) from error
    return ray


def _is_finished(folder: Path) -> bool:
    return (folder / "evaluation.json").is_file()


def _claim(folder: Path, recipe: AnyRecipe, over: Mapping[str, Sequence[Any]]) -> None:
    """Write down what the sweep is, or make sure that the folder is of this one."""
    path = folder / "plan.json"
    plan = {"recipe": dump_recipe(recipe), "over": {key: list(values) for key, values in over.items()}}
    if path.is_file():
        if read_json(path) != plan:
            remedy = "choose another folder (--out), or give the same recipe and the same --over to go on"
            message = "this folder is of another sweep, and nothing is overwritten"
            raise RunError(message, source=str(folder), remedy=remedy)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError("this folder holds something already", source=str(folder), remedy="choose another (--out)")
    write_json(path, plan)


@contextlib.contextmanager
def _cluster(ray: Any, workers: int | None, address: str | None) -> Iterator[None]:
    """Join a Ray cluster, or start Ray on this machine; leave it as it was found."""
    import logging

    variables = {key: os.environ[key] for key in ("NGP_CACHE", "OMP_NUM_THREADS", "HF_HOME") if key in os.environ}
    options: dict[str, Any] = {"runtime_env": {"env_vars": variables}, "logging_level": logging.ERROR}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        options |= {"num_cpus": workers, "include_dashboard": False, "address": "local"}
    else:
        options["address"] = address
    try:
        with _own_signals():
            ray.init(log_to_driver=False, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        remedy = "start one with: ray start --head, or leave --address out to fit on this machine"
        said = " ".join(str(error).split())[:300]
        message = f"Ray cannot be started or reached: {said}"
        raise NewGamePlusError(message, source=f"--address {address}" if address else "ray", remedy=remedy) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGINT and SIGTERM do here: Ray would have SIGTERM abort the process with a dump of its stack."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_all(
    ray: Any, waiting: Mapping[str, tuple[Settings, AnyRecipe]], folder: Path, cpus: float, gpus: float
) -> dict[str, str]:
    """Let Ray run the fits; return what went wrong by the name of the run. One that fails stops no other."""
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=1)(_fit_one)
    tasks = {
        remote.remote(dump_recipe(made), str((folder / "runs" / name).resolve())): name
        for name, (_, made) in waiting.items()
    }
    failures: dict[str, str] = {}
    with progress.task("sweep", total=len(tasks), unit="fits") as bar:
        left = list(tasks)
        try:
            while left:
                done, left = ray.wait(left, num_returns=1)
                for task in done:
                    name, trouble = tasks[task], _outcome(ray, task)
                    if trouble:
                        failures[name] = trouble
                        progress.say(f"  {name} failed: {trouble}")
                    bar.advance(1, name)
        except KeyboardInterrupt:
            for task in left:
                with contextlib.suppress(Exception):
                    ray.cancel(task, force=True)
            raise
    return failures


def _outcome(ray: Any, task: Any) -> str:
    try:
        return str(ray.get(task))
    except ray.exceptions.RayError as error:  # the process died: out of memory, killed, a machine that is gone
        said = str(error).strip().splitlines() or [type(error).__name__]
        return f"its process died: {said[0][:300]}"


def _fit_one(recipe: str, folder: str) -> str:
    """Fit, or go on with a fit, in a worker; return what went wrong, or nothing."""
    try:
        if (Path(folder) / "recipe.yaml").is_file():
            resume(folder)
        else:
            fit(parse_recipe(recipe, folder), folder)
    except NewGamePlusError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other fits go on and this one is reported
        return " ".join(f"something unforeseen: {type(error).__name__}: {error}".split())[:500]
    return ""


def _conclude(
    folder: Path,
    recipe: AnyRecipe,
    over: Mapping[str, Sequence[Any]],
    plans: Mapping[str, tuple[Settings, AnyRecipe]],
    failures: Mapping[str, str],
    compare: Callable[[list[Path]], str] | None,
) -> dict[str, Any]:
    """Write ``sweep.json`` and ``report.html`` over all runs."""
    from newgameplus.evaluate.sweep_report import summarize_sweep, write_sweep_report

    rows = [
        _row(folder / "runs" / name, name, settings, failures.get(name, "")) for name, (settings, _) in plans.items()
    ]
    report = summarize_sweep(rows, recipe.scenario)
    found: dict[str, Any] = {
        "scenario": recipe.scenario,
        "over": {key: list(values) for key, values in over.items()},
        "runs": rows,
        "report": report,
        "comparison": _compared(folder, rows, report, compare),
    }
    write_json(folder / "sweep.json", found)
    write_sweep_report(folder / "report.html", found, title=f"Sweep {recipe.name}")
    return found | {"folder": str(folder)}


def _row(folder: Path, name: str, settings: Settings, trouble: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "settings": settings, "metric": None, "validation": None, "error": trouble}
    if not _is_finished(folder):
        return row | {"status": "failed" if trouble else "not finished"}
    try:
        evaluation = read_json(folder / "evaluation.json")
        row["metric"] = _metric(evaluation)
        row["validation"] = _validation(Run.open(folder).metrics())
    except (NewGamePlusError, KeyError, TypeError, IndexError, StopIteration) as error:
        return row | {"status": "failed", "error": f"its evaluation cannot be read: {error}"}
    return row | {"status": "finished"}


def _metric(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the figure that a scenario's runs are compared by; see ``METRIC_NAMES``."""
    arm = next(arm for arm in evaluation["arms"] if arm["kind"] == "fine-tuned")
    scenario = evaluation.get("scenario", "behavior")
    if scenario == "scene":
        found = arm["raw"]["good"]
    elif scenario == "agent":
        found = arm["games"][evaluation["game"]]["mean"]
    else:
        found = arm["metrics"]["accuracy"]
    return {key: float(found[key]) for key in ("value", "low", "high")}


def _validation(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the best figure on validation data in the last phase: accuracy, or the loss with its sign turned."""
    own = [row for row in rows if row.get("arm") == "fine-tuned"]
    last = [row for row in own if row.get("phase") == own[-1].get("phase")]
    known = [row for row in last if row.get("validation_loss") is not None]
    if not known:
        return None
    kept = min(known, key=lambda row: row["validation_loss"])  # whose weights were kept
    return float(kept["validation_accuracy"]) if "validation_accuracy" in kept else -float(kept["validation_loss"])


def _compared(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any],
    compare: Callable[[list[Path]], str] | None,
) -> str:
    """Return the finished runs held against one of the best setting, as text; nothing where they cannot be."""
    best = next((one["settings"] for one in report["settings"] if one["name"] == report["best"]), None)
    finished = [row for row in rows if row["status"] == "finished"]
    finished.sort(key=lambda row: {k: v for k, v in row["settings"].items() if k != "seed"} != best)
    if len(finished) < 2 or compare is None:
        return ""
    try:
        return compare([folder / "runs" / row["name"] for row in finished])
    except (DataError, RunError) as error:
        return f"not compared run by run: {error.message}"
