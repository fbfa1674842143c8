"""The verbs of the command line that make and check levels, and how their options are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from newgameplus.console import Answered, answer
from newgameplus.errors import NewGamePlusError, Problem, raise_problems

__all__ = ["check_scenes", "generate", "read_generate_options"]

DIRECTIONS = ("left", "right", "up", "down")
STRUCTURES = ("auto", "none")
_MOST_LEVELS = 100_000
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def generate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    count: Annotated[int, typer.Option("-n", "--count", help="How many levels to deliver.")] = 1,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in tiles; default as in the recipe.")] = None,
    wanted: Annotated[
        list[str] | None, typer.Option("--set", help="MEASURE=VALUE or MEASURE=LOW..HIGH; may be repeated.")
    ] = None,
    words: Annotated[str, typer.Option(help="Amounts in words: 'many enemies, few pipes'.")] = "",
    caption: Annotated[str, typer.Option(help="Free words, for runs that learnt from captions.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed makes the same levels.")] = 0,
    out: Annotated[Path | None, typer.Option(help="New folder for the levels; default RUN/levels/NUMBER.")] = None,
    edit: Annotated[Path | None, typer.Option(help="Map to change, instead of making new ones.")] = None,
    region: Annotated[str | None, typer.Option(help="With --edit: COLUMN,ROW,WIDTH,HEIGHT to make anew.")] = None,
    extend: Annotated[
        tuple[str, str] | None, typer.Option(help="With --edit: left, right, up or down, and by how many tiles.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Above 1 more daring, below 1 more usual.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Share of probability to draw from, 0 to 1.")] = None,
    structures: Annotated[str | None, typer.Option(help="auto keeps hard structure, none does not.")] = None,
    budget: Annotated[int | None, typer.Option(help="Samples that each level may take.")] = None,
    growth: Annotated[bool, typer.Option("--growth", help="Write an animated picture of each level growing.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Deliver what the model makes, neither checked nor mended.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Make new levels in the format of your maps, each solved before it is delivered."""

    def work() -> Answered:
        settings = read_generate_options(
            count=count, size=size, wanted=wanted or (), seed=seed, edit=edit, region=region, extend=extend,
            temperature=temperature, top_p=top_p, structures=structures, budget=budget,
        )  # fmt: skip
        from newgameplus import verbs

        folder = out if out is not None else _next_folder(run / "levels")
        made = verbs.generate(
            run, count, words=words, caption=caption, seed=seed, out=folder, growth=growth, raw=raw, **settings
        )
        from newgameplus.cli_text import generation_text

        result = made.as_dict()
        return result, generation_text(result)

    answer("generate", as_json, work, lambda: "run the same command again: the same seed makes the same levels")


def check_scenes(
    maps: Annotated[list[Path], typer.Argument(help="Maps, or folders of maps.")],
    rules: Annotated[
        str | None, typer.Option(help="Rules by name, or a rules file; guessed from the maps if not given.")
    ] = None,
    legend: Annotated[Path | None, typer.Option(help="JSON file: what characters of text maps stand for.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="Format, when it cannot be told from the files.")] = None,
    out: Annotated[Path | None, typer.Option(help="New folder for a picture of each level and report.json.")] = None,
    nodes: Annotated[int, typer.Option(help="States the solver may look at for one level.")] = 200_000,
    as_json: _Json = False,
) -> None:
    """Solve any levels: playable or why not, with the path drawn. Fails if one cannot be."""
    failed: list[int] = []

    def work() -> Answered:
        if nodes < 1:
            raise NewGamePlusError(f"{nodes} states", source=f"--nodes {nodes}", remedy="give 1 or more")
        from newgameplus import verbs
        from newgameplus.cli_text import check_scenes_text

        report = verbs.check_scenes(maps, rules, legend=legend, format=form, out=out, nodes=nodes)
        failed.append(report["counts"]["unplayable"] + report["counts"]["unreadable"])
        return report, check_scenes_text(report)

    answer("check-scenes", as_json, work)
    if any(failed):
        raise typer.Exit(1)


def _next_folder(folder: Path) -> Path:
    """Return the first of ``folder/001``, ``folder/002`` and so on that is not there yet."""
    return next(place for number in range(1, 10**6) if not (place := folder / f"{number:03d}").exists())


def read_generate_options(
    *,
    count: int = 1,
    size: str | None = None,
    wanted: Sequence[str] = (),
    seed: int = 0,
    edit: Path | None = None,
    region: str | None = None,
    extend: tuple[str, str] | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    structures: str | None = None,
    budget: int | None = None,
) -> dict[str, Any]:
    """Read the options of ``ngp generate`` as they were typed.

    Returns:
        Keywords of :func:`newgameplus.deploy.generation.generate`.

    Raises:
        NewGamePlusError: With every option that cannot be understood.
    """
    problems: list[Problem] = []
    read = {
        "size": _size(size, problems) if size is not None else None,
        "requests": _requests(wanted, problems),
        "edit": edit,
        "region": _region(region, problems) if region is not None else None,
        "extend": _extension(extend, problems) if extend is not None else None,
        "temperature": temperature,
        "top_p": top_p,
        "structures": structures,
        "budget": budget,
    }
    problems += _out_of_range(count, seed, temperature, top_p, budget, structures)
    problems += _contradictions(size, edit, region, extend)
    raise_problems(problems, NewGamePlusError, f"{len(problems)} options cannot be used")
    return read


def _out_of_range(
    count: int,
    seed: int,
    temperature: float | None,
    top_p: float | None,
    budget: int | None,
    structures: str | None,
) -> list[Problem]:
    ranges: tuple[tuple[str, float | None, bool, str], ...] = (
        ("-n", count, 1 <= count <= _MOST_LEVELS, f"give a number from 1 to {_MOST_LEVELS:,}"),
        ("--seed", seed, 0 <= seed < 2**32, "give a whole number from 0 to 4294967295"),
        ("--temperature", temperature, 0 <= (temperature or 0) <= 100, "give a number from 0 to 100"),
        ("--top-p", top_p, 0 < (1 if top_p is None else top_p) <= 1, "give a share above 0, at most 1"),
        ("--budget", budget, (1 if budget is None else budget) >= 1, "give 1 or more"),
    )
    problems = [
        Problem(f"{value} will not do", f"{name} {value}", hint) for name, value, fits, hint in ranges if not fits
    ]
    if structures is not None and structures not in STRUCTURES:
        problems.append(Problem(f"{structures!r} will not do", f"--structures {structures}", "give auto or none"))
    return problems


def _contradictions(
    size: str | None, edit: Path | None, region: str | None, extend: tuple[str, str] | None
) -> list[Problem]:
    problems = []
    given = f"--region {region}" if region is not None else f"--extend {' '.join(extend)}" if extend is not None else ""
    if edit is None and given:
        problems.append(Problem("there is no map to change", given, "name it: --edit MAP"))
    if edit is not None and not given:
        remedy = "add --region COLUMN,ROW,WIDTH,HEIGHT or --extend right 50"
        problems.append(Problem("nothing says what to change in the map", f"--edit {edit}", remedy))
    if region is not None and extend is not None:
        message = "a map is changed in one way at a time"
        problems.append(Problem(message, f"--region {region} --extend {' '.join(extend)}", "leave one of them out"))
    if edit is not None and size is not None:
        remedy = "leave --size out, or extend the map: --extend right 50"
        problems.append(Problem("a changed map keeps its size", f"--size {size}", remedy))
    return problems


def _size(text: str, problems: list[Problem]) -> str | None:
    from newgameplus.recipe import parse_size

    try:
        height, width = parse_size(text)
    except ValueError as error:
        problems.append(Problem(str(error), f"--size {text}", "write rows x columns without blanks: --size 14x150"))
        return None
    return f"{height}x{width}"


def _requests(wanted: Sequence[str], problems: list[Problem]) -> dict[str, str]:
    """Read ``MEASURE=VALUE`` pairs; what the values mean is for the model's measures to say."""
    requests: dict[str, str] = {}
    for text in wanted:
        # A tile's own name may hold "=": tile:==3 asks for three tiles called "=".
        name, equals, value = (part.strip() for part in text.rpartition("="))
        source = f"--set {text}"
        if not (equals and name and value):
            problems.append(Problem(f"{text!r} is no request", source, "write MEASURE=VALUE: enemies=5 or gaps=2..4"))
        elif name in requests:
            problems.append(Problem(f"{name} is asked for twice", source, f"keep one; the first is {requests[name]}"))
        else:
            requests[name] = value
    return requests


def _region(text: str, problems: list[Problem]) -> tuple[int, int, int, int] | None:
    parts = _whole_numbers(text.split(","))
    remedy = "write COLUMN,ROW,WIDTH,HEIGHT in tiles, counted from 0: --region 40,0,20,14"
    if parts is None or len(parts) != 4:
        problems.append(Problem(f"{text!r} is no region", f"--region {text}", remedy))
        return None
    column, row, width, height = parts
    if column < 0 or row < 0 or width < 1 or height < 1:
        problems.append(Problem(f"a region of {width} x {height} tiles at {column},{row}", f"--region {text}", remedy))
        return None
    return column, row, width, height


def _extension(typed: tuple[str, str], problems: list[Problem]) -> tuple[str, int] | None:
    direction, text = typed
    tiles = _whole_numbers([text])
    source, remedy = f"--extend {direction} {text}", "write a direction and a number of tiles: --extend right 50"
    if direction not in DIRECTIONS:
        message = f"{direction!r} is no direction; known: {', '.join(DIRECTIONS)}"
        problems.append(Problem(message, source, remedy))
    if tiles is None or not 1 <= tiles[0] <= 10_000:
        problems.append(Problem(f"{text!r} is no number of tiles from 1 to 10,000", source, remedy))
        return None
    return direction, tiles[0]


def _whole_numbers(parts: Sequence[str]) -> list[int] | None:
    numbers = [re.fullmatch(r"\s*(-?\d{1,9})\s*", part) for part in parts]
    return [int(number[1]) for number in numbers if number] if all(numbers) else None
