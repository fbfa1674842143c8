"""Any levels, from anywhere, solved: playable with a proof that holds, or why not, with a picture of each.

The work of ``ngp check-scenes``. Nothing here knows of a run: whatever a reader of maps understands can be judged by
whatever rules can be opened.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newgameplus import progress
from newgameplus.errors import DataError, NewGamePlusError, Problem, raise_problems
from newgameplus.evaluate.scene_evaluation import judge
from newgameplus.files import storage_errors, write_json
from newgameplus.games.formats import read_documents
from newgameplus.games.formats.document import Document
from newgameplus.games.meanings import guess_meanings, guess_rules
from newgameplus.games.rules import RULES, open_rules
from newgameplus.games.rules.contract import Answer, Budget, Rules
from newgameplus.games.scenes import Level, Scene, Tile
from newgameplus.games.stacking import Stack, parts_of, stack
from newgameplus.scenarios.scene_recipe import document_notes

if TYPE_CHECKING:
    from newgameplus.games.pictures import Artist

__all__ = ["check_scenes"]

STATUSES = ("playable", "unplayable", "undecided", "unreadable")
_PICTURE_CELL = 16


@dataclass(frozen=True, eq=False)
class _Found:
    """One level and the file it stands in."""

    level: Level
    path: Path
    stack: Stack


def check_scenes(
    paths: Sequence[str | Path],
    rules: str | Path | Mapping[str, Any] | Rules | None = None,
    *,
    legend: str | Path | None = None,
    meanings: Mapping[str, Iterable[str]] | None = None,
    format: str | None = None,  # noqa: A002 (the word that users know)
    out: str | Path | None = None,
    nodes: int = 200_000,
) -> dict[str, Any]:
    """Solve levels, replay every proof with the rules' own replayer, and list broken structures.

    Args:
        paths: Maps, or folders of maps, in any format that can be read.
        rules: A name, a rules file or its content, ``module:function``, or rules; guessed from the maps if None.
        legend: JSON file that says what the characters of text maps stand for.
        meanings: What tiles mean, by name; what is not named is as the files say, or guessed where they say nothing.
        format: Format of the maps, when it cannot be told from the files.
        out: New folder for a picture of each level and ``report.json``.
        nodes: States that the solver may look at for one level.

    Returns:
        ``rules`` (their name), ``guessed`` (why these rules; empty if they were given), ``counts`` (by status, and
        ``flawed``), ``levels`` (each ``name``, ``file``, ``height``, ``width``, ``status``, ``path_length``,
        ``reason``, ``at``, ``flaws``, ``measures``, ``proof``, ``picture``), ``notes``, ``out``.

    Raises:
        DataError: There is no map that can be read, or ``out`` holds something already.
        RecipeError: There are no such rules.
    """
    folder = _new_folder(Path(out)) if out is not None else None
    documents, unreadable = _read(paths, format, legend)
    found, notes = _levels(documents, meanings, rules if isinstance(rules, str) and rules in RULES else None)
    chosen, why = _rules(rules, [one.level for one in found])
    notes += [f"these rules need {need}, and no tile has it" for need in _needs(chosen, found)]
    answers = judge([one.level for one in found], chosen, Budget(nodes), title="solving")
    rows = [_row(one, answer, chosen) for one, answer in zip(found, answers, strict=True)]
    rows += _bad_rows(unreadable)
    if folder is not None:
        artists = _artists(documents, found, chosen.name)
        _draw(folder, found, answers, rows, artists)
    counts = Counter(str(row["status"]) for row in rows)
    report = {
        "rules": chosen.name,
        "guessed": why,
        "counts": {status: counts[status] for status in STATUSES} | {"flawed": sum(bool(row["flaws"]) for row in rows)},
        "levels": rows,
        "notes": notes,
        "out": None if folder is None else str(folder),
    }
    if folder is not None:
        write_json(folder / "report.json", report)
    return report


def _new_folder(folder: Path) -> Path:
    """Return a folder if nothing is in it yet.

    Raises:
        DataError: Something is.
    """
    with storage_errors(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            remedy = "name a new folder; nothing is overwritten"
            raise DataError("this folder holds something already", source=str(folder), remedy=remedy)
    return folder


def _read(
    paths: Sequence[str | Path], form: str | None, legend: str | Path | None
) -> tuple[list[Document], list[Problem]]:
    """Read all maps; files that cannot be read are told beside those that can."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            read, left_out = read_documents(
                Path(path), format=form, legend=None if legend is None else Path(legend), skip_bad=True
            )
        except NewGamePlusError as error:
            problems += error.problems
            continue
        documents += read
        problems += left_out
    if not documents:
        raise_problems(problems, DataError, f"none of {len(problems)} files can be read")
        raise DataError("no maps are named", source="maps", remedy="name maps, or folders of maps")
    return documents, problems


def _levels(
    documents: Sequence[Document], meanings: Mapping[str, Iterable[str]] | None, hint: str | None
) -> tuple[list[_Found], list[str]]:
    """Make levels of the maps, file by file, since files from anywhere may have tiles and layers of their own."""
    usable = [document for document in documents if document.generable]
    notes = document_notes(documents)
    scenes = [scene for document in usable for scene in document.scenes]
    if not scenes:
        raise DataError("there is no level in these files", source=str(documents[0].path), remedy="; ".join(notes))
    guesses = {name: guess.meanings for name, guess in guess_meanings(scenes, hint).items()}
    found: list[_Found] = []
    for document in usable:
        told = {**_for(document.scenes, guesses), **_for(document.scenes, meanings or {})}
        combined, levels = stack(list(document.scenes), meanings=told)
        found += [_Found(_named(level, document), document.path, combined) for level in levels]
    return found, notes


def _for(scenes: Sequence[Scene], meanings: Mapping[str, Iterable[str]]) -> dict[str, Iterable[str]]:
    """Return the meanings of those tiles and objects that the scenes have."""
    names = parts_of(scenes)
    return {name: values for name, values in meanings.items() if name in names}


def _named(level: Level, document: Document) -> Level:
    stem = document.path.stem
    name = f"{stem} {level.name}" if level.name and level.name != stem and len(document.scenes) > 1 else stem
    return level.with_tiles(level.tiles, name)


def _rules(rules: str | Path | Mapping[str, Any] | Rules | None, levels: Sequence[Level]) -> tuple[Rules, str]:
    """Open the rules, or those that fit the levels best, and say why these."""
    if rules is not None:
        return open_rules(rules), ""
    guess = guess_rules(levels)
    progress.say(f"note: no --rules given; taking {guess.rules!r}: {guess.reason}")
    return open_rules(guess.rules), guess.reason


def _needs(rules: Rules, found: Sequence[_Found]) -> list[str]:
    """Return what the rules need that no tile of any level has."""
    missing = [set(rules.needs(one.level)) for one in found]
    return sorted(set.intersection(*missing)) if missing else []


def _row(one: _Found, answer: Answer, rules: Rules) -> dict[str, Any]:
    flaws = rules.flaws(one.level)
    proof = answer.proof
    length = answer.measures.get("path_length", len(proof.cells) if proof is not None else None)
    return {
        "name": one.level.name,
        "file": str(one.path),
        "height": one.level.height,
        "width": one.level.width,
        "status": answer.status,
        "path_length": None if length is None or proof is None else int(length),
        "reason": answer.reason,
        "at": answer.at,
        "flaws": [{"kind": flaw.kind, "at": flaw.at, "message": flaw.message} for flaw in flaws],
        "measures": dict(answer.measures),
        "proof": None if proof is None else {"cells": [list(cell) for cell in proof.cells], "moves": proof.moves},
        "picture": None,
    }


def _bad_rows(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return one row for each file that cannot be read, with the first of its problems."""
    files: dict[str, list[Problem]] = {}
    for problem in dict.fromkeys(problems):
        files.setdefault(re.sub(r":\d+.*$", "", problem.source), []).append(problem)
    empty = {"height": None, "width": None, "path_length": None, "at": None, "proof": None, "picture": None}
    rows: list[dict[str, Any]] = []
    for file, all_of_it in files.items():
        first = all_of_it[0]
        where = first.source.removeprefix(file).lstrip(":")
        reason = f"line {where}: {first.message}" if where else first.message
        more = f" (and {len(all_of_it) - 1:,} more problems)" if len(all_of_it) > 1 else ""
        row = {"name": Path(file).name or file, "file": file, "status": "unreadable", "reason": f"{reason}{more}"}
        rows.append(row | empty | {"flaws": [], "measures": {}})
    return rows


def _artists(documents: Sequence[Document], found: Sequence[_Found], rules: str) -> list[Artist]:
    """Return who draws each level: with the maker's own tile pictures where there are some, else plain tiles."""
    from newgameplus.games.pictures import picture_artist, plain_artist

    tiles = {tile.name: tile for one in documents for scene in one.scenes for tile in scene.tileset.tiles}
    sizes = [
        tile.picture[3:] for tile in tiles.values() if tile.picture is not None and Path(tile.picture[0]).is_file()
    ]
    made: dict[int, Artist] = {}
    for one in found:
        key, cells = id(one.stack), one.stack.cells

        def parts(number: int, cells: Sequence[Sequence[str | None]] = cells) -> list[Tile]:
            return [tiles[name] for name in cells[number] if name is not None and name in tiles]

        if key not in made:
            drawn = picture_artist(one.stack.tileset, sizes[0][0], layers=parts, rules=rules) if sizes else None
            made[key] = drawn or plain_artist(one.stack.tileset, rules)
    return [made[id(one.stack)] for one in found]


def _draw(
    folder: Path,
    found: Sequence[_Found],
    answers: Sequence[Answer],
    rows: Sequence[dict[str, Any]],
    artists: Sequence[Artist],
) -> None:
    """Draw each level with the player's way, or with the place where it got stuck and what can be reached."""
    from newgameplus.games.pictures import draw_level, write_png

    taken: Counter[str] = Counter()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with progress.task("drawing", total=len(found), unit="levels") as task:
        for one, answer, row, artist in zip(found, answers, rows, artists, strict=False):
            plain = re.sub(r"[^\w.-]+", "-", one.level.name).strip("-.")[:80] or "level"
            taken[plain] += 1
            path = folder / (f"{plain}.png" if taken[plain] == 1 else f"{plain}-{taken[plain]}.png")
            proof, flaws = answer.proof, row["flaws"]
            told = f": {answer.reason}" if answer.reason else f": broken {flaws[0]['kind']}" if flaws else ""
            picture = draw_level(
                one.level,
                path=proof.cells if proof is not None else (),
                moves=proof.moves if proof is not None else "",
                mark=answer.at if proof is None else flaws[0]["at"] if flaws else None,
                reached=answer.reached if proof is None else None,
                cell=_PICTURE_CELL,
                artist=artist,
                legend=True,
                title=f"{one.level.name}: {answer.status}{told}",
            )
            write_png(path, picture)
            row["picture"] = str(path)
            task.advance()
