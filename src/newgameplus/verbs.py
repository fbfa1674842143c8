"""Every verb of the command line as a function of the same name, for notebooks and scripts.

    from newgameplus.verbs import check, compare, evaluate, fit, generate, init, play, predict, record_doom, resume

Rooms are imported when a verb is used, so that importing this module costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newgameplus.errors import NewGamePlusError, RecipeError, RunError, raise_problems

if TYPE_CHECKING:
    from newgameplus.demo import Demo
    from newgameplus.deploy.generation import GenerationResult
    from newgameplus.deploy.prediction import Answer
    from newgameplus.doctor import Check
    from newgameplus.games.record.doom import Recording
    from newgameplus.recipe import AnyRecipe
    from newgameplus.run import Run

__all__ = [
    "check",
    "check_scenes",
    "choose",
    "compare",
    "demo",
    "doctor",
    "evaluate",
    "export",
    "fit",
    "generate",
    "init",
    "model",
    "models",
    "play",
    "predict",
    "pretrain",
    "record_doom",
    "record_env",
    "resume",
    "surgery",
    "sweep",
]


def demo(out: str | Path = "demo") -> Demo:
    """Fine-tune on a recorded game, on a designer's maps and in a new game; see :mod:`newgameplus.demo`."""
    from newgameplus.demo import demo as play

    return play(out)


def record_doom(map: str, episodes: int, out: str | Path, **settings: Any) -> Recording:  # noqa: A002
    """Record labelled episodes of Doom; see :func:`newgameplus.games.record.doom.record_doom`."""
    from newgameplus.games.record.doom import record_doom as record

    return record(map, episodes, out, **settings)


def record_env(environment: str, out: str | Path, **settings: Any) -> dict[str, Any]:
    """Record episodes of any Gymnasium environment; see :func:`newgameplus.deploy.recording.record_env`."""
    from newgameplus.deploy.recording import record_env as record

    return record(environment, out, **settings)


def init(
    scenario: str,
    data: str | Path | None = None,
    *,
    name: str = "",
    skip_bad: bool = False,
    legend: str | Path | None = None,
    environment: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Return a commented recipe for the user's data.

    Args:
        scenario: ``behavior``, ``scene`` or ``agent``.
        data: For behavior, a folder of labelled clips, folder per class, or a label file; for scene, a map or a folder
            of maps; for agent, demonstrations, if there are any.
        name: Name of the run folder.
        skip_bad: Leave out what cannot be read; the recipe then does so too.
        legend: Scenes only: JSON file that says what the characters of text maps stand for.
        environment: Agents only: Gymnasium id or factory of the game.
        options: Agents only: keyword arguments of the environment.

    Raises:
        RecipeError: There is no such scenario, or it takes no such option.
        DataError: The data cannot be used.
    """
    from newgameplus.recipe import did_you_mean
    from newgameplus.scenarios import SCENARIOS

    if scenario not in SCENARIOS:
        remedy = f"{did_you_mean(scenario, list(SCENARIOS))}known: {', '.join(SCENARIOS)}"
        raise RecipeError(f"{scenario!r} is not a scenario", source="scenario", remedy=remedy)
    settings: dict[str, Any] = {"name": name, "skip_bad": skip_bad}
    own = {"scene": {"legend"}, "agent": {"environment", "options"}}.get(scenario, set())
    given = {"legend": legend and Path(legend), "environment": environment, "options": options or None}
    options_of = {"legend": f"--legend {legend}", "environment": f"--env {environment}", "options": "--option"}
    for key, value in given.items():
        if value is not None and key not in own:
            owner = "ngp init scene MAPS" if key == "legend" else "ngp init agent"
            message = f"the {scenario} scenario knows no {key}"
            raise RecipeError(message, source=options_of[key], remedy=f"leave it out, or: {owner}")
        if value is not None:
            settings[key] = value
    if data is None and scenario != "agent":
        remedy = f"name it: ngp init {scenario} FOLDER"
        raise RecipeError(f"no {SCENARIOS[scenario].data} are named", source="data", remedy=remedy)
    text: str = SCENARIOS[scenario].part("init")(None if data is None else Path(data), **settings)
    return text


def check(recipe: AnyRecipe | str | Path, *, skip_bad: bool = False) -> dict[str, Any]:
    """Check recipe, data, model and cost at once; train nothing.

    Args:
        recipe: A recipe, or the path of one.
        skip_bad: Leave out what cannot be read, whatever the recipe says.

    Returns:
        The plan: scenario, what was found, split, steps, and estimated seconds and bytes; where several processes were
        started, how they will share the work.

    Raises:
        NewGamePlusError: With every problem found.
    """
    from newgameplus.finetune import read_recipe
    from newgameplus.launched import process_count

    read = read_recipe(recipe, skip_bad=skip_bad)
    from newgameplus.scenarios import SCENARIOS

    problems, plan = SCENARIOS[read.scenario].part("check")(read)
    if process_count() > 1:
        from newgameplus.scenarios.together import sharing_plan, sharing_problems

        problems = [*sharing_problems(read), *problems]
        plan["processes"] = sharing_plan(read)
    raise_problems(problems, NewGamePlusError, f"{len(problems)} problems stand in the way of this fit")
    found: dict[str, Any] = {"scenario": read.scenario} | plan
    return found


def fit(
    recipe: AnyRecipe | str | Path,
    out: str | Path | None = None,
    *,
    start: str | None = None,
    skip_bad: bool = False,
) -> Run:
    """Fine-tune as a recipe says; see :func:`newgameplus.finetune.fit`."""
    from newgameplus.finetune import fit as finetune

    return finetune(recipe, out, start=start, skip_bad=skip_bad)


def pretrain(
    recipe: AnyRecipe | str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    start: str | None = None,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Go on with pretraining on data without labels; see :func:`newgameplus.scenarios.pretraining.pretrain`.

    Args:
        recipe: A recipe of the behavior or the scene scenario, or the path of one.
        data: Recordings or maps without labels; by default as in the recipe.
        out: Folder of the result; by default ``<runs>/<name>-pretrained``.
        steps: Training steps; by default as in the recipe.
        minutes: Longest time to train.
        start: What to go on with, instead of the recipe's ``model.start``.
        skip_bad: Leave out what cannot be read, whatever the recipe says.
    """
    from newgameplus.finetune import read_recipe

    read = read_recipe(recipe, start=start, skip_bad=skip_bad)
    from newgameplus.scenarios.pretraining import pretrain as go_on
    from newgameplus.scenarios.pretraining import with_settings

    return go_on(with_settings(read, data, steps, minutes), Path(out) if out is not None else None)


def resume(folder: str | Path) -> Run:
    """Go on with an interrupted run, exactly; see :func:`newgameplus.finetune.resume`."""
    from newgameplus.finetune import resume as go_on

    return go_on(folder)


def sweep(
    recipe: AnyRecipe | str | Path, over: Mapping[str, Sequence[Any]] | Sequence[str], **settings: Any
) -> dict[str, Any]:
    """Fit a recipe with every combination of settings, and compare; see :func:`newgameplus.sweep.sweep`."""
    from newgameplus.cli_text import comparison_text
    from newgameplus.sweep import sweep as run_all

    return run_all(recipe, over, compare=lambda folders: comparison_text(compare(folders)), **settings)


def evaluate(
    run: Run | str | Path,
    data: str | Path | None = None,
    *,
    labels: str | None = None,
    skip_bad: bool = False,
    samples: int | None = None,
    seed: int | None = None,
    games: Sequence[str] | None = None,
    episodes: int | None = None,
) -> dict[str, Any]:
    """Evaluate a saved run; the result is kept in the run's ``evaluations/`` too.

    Args:
        run: A finished run.
        data: Behavior: any labelled clips. Scene: maps to hold the made levels against, by default the run's own.
        labels: Behavior only: label file inside the folder.
        skip_bad: Behavior only: leave out clips that cannot be read.
        samples: Scene only: levels to make for the raw figures, by default as in the recipe.
        seed: Scene and agent: seed of the levels or episodes, by default one that the run did not use.
        games: Agent only: games to play beside the run's own, by default the others of its recipe.
        episodes: Agent only: episodes of each policy on each game, by default as in the recipe.

    Returns:
        The evaluation; see :mod:`newgameplus.evaluate.comparison` for the keys of a behavior run's.

    Raises:
        RunError: The run has no model, or something was given that its scenario does not know.
    """
    from newgameplus.scenarios.evaluating import evaluate as judge

    return judge(
        _opened(run), data, labels=labels, skip_bad=skip_bad, samples=samples, seed=seed, games=games,
        episodes=episodes,
    )  # fmt: skip


def predict(run: Run | str | Path, videos: str | Path | Sequence[str | Path], **settings: Any) -> list[Answer]:
    """Name what happens in new videos; see :func:`newgameplus.deploy.prediction.predict`.

    Raises:
        RunError: The run is not one of the behavior scenario, or has no model yet.
    """
    opened = _run_of("behavior", _opened(run), "make levels with it: ngp generate")
    from newgameplus.deploy.prediction import predict as answer

    return answer(opened, videos, **settings)


def generate(run: Run | str | Path, count: int = 1, **settings: Any) -> GenerationResult:
    """Make levels that can be played; see :func:`newgameplus.deploy.generation.generate`.

    Raises:
        RunError: The run is not one of the scene scenario, or has no model yet.
    """
    opened = _run_of("scene", _opened(run), "name what happens in videos with it: ngp predict")
    from newgameplus.deploy.generation import generate as make

    return make(opened.folder, count, **settings)


def play(policy: str | Path, episodes: int = 5, **settings: Any) -> dict[str, Any]:
    """Let a policy play, at any strength; see :func:`newgameplus.deploy.playing.play`."""
    from newgameplus.deploy.playing import play as let_play

    return let_play(str(policy), episodes, **settings)


def export(run: Run | str | Path, out: str | Path, **settings: Any) -> dict[str, Any]:
    """Write a fine-tuned model for engines and servers; see :func:`newgameplus.deploy.export.export`."""
    from newgameplus.deploy.export import export as write

    return write(run, out, **settings)


def surgery(policy: str | Path, out: str | Path, **settings: Any) -> dict[str, Any]:
    """Fit a policy to changed spaces; see :func:`newgameplus.scenarios.agent_surgery.operate_on`."""
    from newgameplus.scenarios.agent_surgery import operate_on

    return operate_on(str(policy), Path(out), **settings)


def check_scenes(
    paths: str | Path | Sequence[str | Path], rules: str | Path | Mapping[str, Any] | None = None, **settings: Any
) -> dict[str, Any]:
    """Solve any levels, and say why one cannot be played; see :mod:`newgameplus.scenarios.check_scenes`."""
    from newgameplus.scenarios.check_scenes import check_scenes as look

    given = [paths] if isinstance(paths, str | Path) else list(paths)
    return look(given, rules, **settings)


def compare(runs: Sequence[str | Path]) -> dict[str, Any]:
    """Compare finished runs of one scenario, with intervals; see :mod:`newgameplus.scenarios.comparing`."""
    from newgameplus.scenarios.comparing import compare as hold

    return hold([_opened(run) for run in runs])


def _opened(run: Run | str | Path) -> Run:
    from newgameplus.run import Run

    return run if isinstance(run, Run) else Run.open(run)


def _run_of(scenario: str, run: Run, instead: str) -> Run:
    """Return a run if it is one of a scenario.

    Raises:
        RunError: It is not.
    """
    if run.recipe.scenario != scenario:
        message = f"this is a run of the {run.recipe.scenario} scenario, not of {scenario}"
        raise RunError(message, source=str(run.folder), remedy=f"{instead} {run.quoted}, or give a {scenario} run")
    return run


def models(**filters: Any) -> list[dict[str, Any]]:
    """Return what can be started from, as plain data; see :mod:`newgameplus.pretrained.listing`.

    Args:
        filters: ``family``, ``source``, ``task``, ``license``, ``max_parameters``, ``use`` and ``here``; see
            :func:`newgameplus.pretrained.listing.filter_models`.
    """
    from newgameplus import progress
    from newgameplus.pretrained.listing import filter_models, list_startable

    rows, left_out = list_startable("runs")
    for one in left_out:
        progress.say(f"left out {one['name']}: {one['message']}")
    return filter_models(rows, **filters)


def model(name: str) -> dict[str, Any]:
    """Return what is known of one model, without loading its weights.

    Raises:
        PretrainedModelError: There is no such model.
    """
    from newgameplus.pretrained.listing import find_model

    return find_model(name)


def choose(
    recipe: AnyRecipe | str | Path,
    *,
    candidates: Sequence[str] | None = None,
    top: int = 3,
    short_run: bool = True,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Rank what a recipe may start from, on the user's own data; see :mod:`newgameplus.choose`.

    Args:
        recipe: A recipe, or the path of one.
        candidates: Names to choose from, instead of the recipe's ``model.start``.
        top: How many of the best get a short fine-tuning; policies play all the episodes instead.
        short_run: Whether any do; estimates alone decide otherwise.
        out: File to write; by default a new ``choose.json`` beside the recipe, and none for a recipe that is no file.

    Returns:
        The choice as plain data: name, reason, candidates (best first), advice; and ``written_to``.

    Raises:
        NewGamePlusError: The data or a model cannot be used.
    """
    from newgameplus.finetune import read_recipe
    from newgameplus.scenarios.choosing import choose as rank

    beside = Path(recipe).resolve().parent if isinstance(recipe, str | Path) else None
    return rank(read_recipe(recipe), candidates, top=top, short_run=short_run, out=out, beside=beside)


def doctor() -> list[Check]:
    """Say what is installed, what is broken, and how to mend it; see :mod:`newgameplus.doctor`."""
    from newgameplus.doctor import doctor as look

    return look()
