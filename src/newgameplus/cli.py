"""The command line: a thin shell over :mod:`newgameplus.verbs`. Results on standard output, progress on standard error.

Every verb takes ``--json``: one object on standard output, ``{"verb": ..., "ok": true, "result": ...}``, or on failure
``{"verb": ..., "ok": false, "error": {...}}``; docs/reference/json.md describes each result. Exit codes: 0 done, 1
something is wrong and said, 2 the command line cannot be understood, 130 interrupted; see :mod:`newgameplus.console`.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from newgameplus import cli_agent, cli_choose, cli_export, cli_pretrain, cli_scenes, cli_sweep
from newgameplus.cli_text import PREDICTION_FORMS, comparison_text, evaluation_text, finished, plan_text
from newgameplus.console import Answered, answer
from newgameplus.console import run as run_app
from newgameplus.errors import RunError

__all__ = ["app", "main"]

app = typer.Typer(
    help="New Game+: a pretrained model and your game in, a fine-tuned model with evidence out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
record_app = typer.Typer(
    help="Record labelled clips out of a game engine, or episodes of any environment.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(record_app, name="record")

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be read, and say what.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for recording, maps and runs.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Fine-tune on a recorded game, on a designer's maps and in a new game; judge all three."""

    def work() -> Answered:
        from newgameplus import verbs
        from newgameplus.cli_text import demo_told

        return demo_told(verbs.demo(out))

    answer("demo", as_json, work, lambda: "run the same command again to go on")


@record_app.command("doom")
def record_doom(
    map_: Annotated[str, typer.Option("--map", help="freedoom2:MAP02, freedoom1:E1M1, or a scenario such as basic.")],
    out: Annotated[Path, typer.Option(help="New folder for the recording.")],
    episodes: Annotated[int, typer.Option(help="How many videos.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same recording.")] = 0,
    players: Annotated[int, typer.Option(help="1 to 8; all but the first are the engine's bots.")] = 1,
    labels: Annotated[str, typer.Option(help="What labels.csv holds: action or behavior.")] = "action",
    seconds: Annotated[float, typer.Option(help="Length of each episode.")] = 20.0,
    width: Annotated[int, typer.Option(help="Columns of the video.")] = 320,
    height: Annotated[int, typer.Option(help="Rows of the video.")] = 240,
    view: Annotated[
        str, typer.Option(help="first (through the player's eyes) or behind (the player in view).")
    ] = "first",
    weapon: Annotated[str | None, typer.Option(help="Weapon of each life, or random; default the map's own.")] = None,
    skill: Annotated[int, typer.Option(help="1 (few monsters) to 5.")] = 3,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted recording.")] = False,
    as_json: Json = False,
) -> None:
    """Record labelled episodes of Doom (ViZDoom with Freedoom)."""

    def work() -> Answered:
        from newgameplus import verbs

        recording = verbs.record_doom(
            map_, episodes, out, seed=seed, players=players, labels=labels, seconds=seconds, width=width,
            height=height, view=view, weapon=weapon, skill=skill, resume=resume,
        )  # fmt: skip
        counts = ", ".join(f"{label} {count}" for label, count in sorted(recording.clips.items()))
        text = f"{len(recording.episodes)} episodes, {sum(recording.clips.values())} clips in {out}: {counts}"
        return recording.as_dict() | {"folder": str(out)}, f"{text}\nnext: ngp init behavior {out} > recipe.yaml"

    answer("record", as_json, work, lambda: "go on with the same command and --resume")


record_app.command("env")(cli_agent.record_env)


@app.command()
def init(
    scenario: Annotated[str, typer.Argument(help="behavior, scene or agent")],
    data: Annotated[
        Path | None, typer.Argument(help="Labelled clips (behavior), or a map or a folder of maps (scene).")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the run folder.")] = "",
    legend: Annotated[
        Path | None, typer.Option(help="Scenes: JSON file that says what characters of text maps stand for.")
    ] = None,
    env: Annotated[str | None, typer.Option("--env", help="Agents: Gymnasium id or factory of the game.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", help="Agents: KEY=VALUE of the environment.")] = None,
    demos: Annotated[Path | None, typer.Option("--demos", help="Agents: demonstrations to start from.")] = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Write a commented recipe for your data to standard output."""
    if data is None and scenario in ("behavior", "scene"):
        raise typer.BadParameter(f"name the data: ngp init {scenario} FOLDER", param_hint="DATA")

    def work() -> Answered:
        from newgameplus import verbs
        from newgameplus.cli_agent_text import read_options

        text = verbs.init(
            scenario, demos if data is None else data, name=name, skip_bad=skip_bad, legend=legend, environment=env,
            options=read_options(option),
        )  # fmt: skip
        return {"recipe": text}, text.rstrip("\n")

    answer("init", as_json, work)


@app.command()
def check(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Check recipe, data and cost at once; train nothing."""

    def work() -> Answered:
        from newgameplus import verbs

        plan = verbs.check(recipe, skip_bad=skip_bad)
        return plan, plan_text(plan)

    answer("check", as_json, work)


@app.command()
def fit(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<date>-<name>.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="What to start from, instead of the recipe's: run:FOLDER, sb3:FILE ...")
    ] = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Fine-tune: choose, adapt, train, evaluate; leaves a run folder with report.html."""

    def work() -> Answered:
        from newgameplus import verbs

        return finished(verbs.fit(recipe, out, start=start, skip_bad=skip_bad))

    answer("fit", as_json, work, lambda: "run the same command again")


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: Json = False,
) -> None:
    """Go on with an interrupted run, to the same result."""

    def work() -> Answered:
        from newgameplus import verbs

        return finished(verbs.resume(run))

    answer("resume", as_json, work, lambda: f"go on where it stopped: ngp resume {shlex.quote(str(run))}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[
        Path | None,
        typer.Argument(help="Behavior: labelled clips. Scene: maps to compare with, by default the run's own."),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Behavior: label file inside the folder.")] = None,
    samples: Annotated[int | None, typer.Option(help="Scene: levels to make for the raw figures.")] = None,
    seed: Annotated[int | None, typer.Option(help="Scene, agent: the same seed makes the same levels, games.")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="Agent: games to play beside its own.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Agent: episodes on each game.")] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Evaluate a saved run: on any labelled clips, by the levels it makes, or by the games it plays."""

    def work() -> Answered:
        from newgameplus import verbs

        games, clips = _games(on, data, more)
        evaluation = verbs.evaluate(
            run, clips, labels=labels, skip_bad=skip_bad, samples=samples, seed=seed, games=games, episodes=episodes
        )
        left_out = f"\nleft out {len(evaluation['left_out'])} clips" if evaluation.get("left_out") else ""
        written = f"\nwritten to {evaluation['written_to']}" if "written_to" in evaluation else ""
        return evaluation, f"{evaluation_text(evaluation)}{left_out}{written}"

    answer("evaluate", as_json, work)


def _games(on: list[str] | None, data: Path | None, more: list[str] | None) -> tuple[list[str] | None, Path | None]:
    """Let games follow one --on: ``ngp evaluate RUN --on OLD NEW``; without --on the second word names clips."""
    if on is None:
        if more:
            raise RunError(
                f"what are these: {', '.join(more)}?", source="command line", remedy="see ngp evaluate --help"
            )
        return None, data
    return [*on, *([str(data)] if data is not None else []), *(more or [])], None


app.command("choose")(cli_choose.choose)
app.command("models")(cli_choose.models)
app.command("pretrain")(cli_pretrain.pretrain)
app.command("generate")(cli_scenes.generate)
app.command("check-scenes")(cli_scenes.check_scenes)
app.command("play")(cli_agent.play)
app.command("surgery")(cli_agent.surgery)
app.command("sweep")(cli_sweep.sweep)
app.command("export")(cli_export.export)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    videos: Annotated[list[Path], typer.Argument(help="Videos or folders of videos.")],
    form: Annotated[Literal["table", "csv", "jsonl"], typer.Option("--format", help="How to print.")] = "table",
    window: Annotated[float | None, typer.Option(help="Seconds looked at together.")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds from one window to the next.")] = None,
    every: Annotated[bool, typer.Option("--every", help="Do not join equal answers in a row.")] = False,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Name what happens in new videos: labels with times and probabilities."""

    def work() -> Answered:
        from newgameplus import verbs

        answers = verbs.predict(run, videos, window=window, hop=hop, join=not every, skip_bad=skip_bad)
        rows = [answer.as_dict() for answer in answers]
        return {"answers": rows}, PREDICTION_FORMS[form](rows)

    answer("predict", as_json, work)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more run folders; the first is the reference.")],
    as_json: Json = False,
) -> None:
    """Compare finished runs of one scenario, with intervals."""

    def work() -> Answered:
        from newgameplus import verbs

        comparison = verbs.compare(runs)
        return comparison, comparison_text(comparison)

    answer("compare", as_json, work)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: Json = False,
) -> None:
    """Print a finished run's table and where its report lies."""

    def work() -> Answered:
        from newgameplus.run import Run

        opened = Run.open(run)
        if not opened.finished:
            raise RunError("this run is not finished", source=str(run), remedy=f"finish it: ngp resume {run}")
        return finished(opened)

    answer("report", as_json, work)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, what is broken, and how to mend it."""
    broken: list[str] = []

    def work() -> Answered:
        from newgameplus import verbs

        checks = verbs.doctor()
        broken.extend(check.name for check in checks if check.level == "broken")
        lines = []
        for found in checks:
            lines.append(f"{found.level:8}{found.name}: {found.found}")
            lines += [f"        mend: {found.remedy}"] if found.remedy and found.level != "ok" else []
        return {"checks": [found.as_dict() for found in checks]}, "\n".join(lines)

    answer("doctor", as_json, work)
    if broken:
        raise typer.Exit(1)


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    from newgameplus import __version__

    answer("version", as_json, lambda: ({"version": __version__}, __version__))


def main() -> None:
    """Entry point of ``ngp``."""
    run_app(app)


if __name__ == "__main__":
    main()
