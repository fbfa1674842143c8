"""A commented recipe for a designer's own maps, and what stands in the way of fitting it and what it will cost."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from newgameplus import progress
from newgameplus.errors import DataError, NewGamePlusError, Problem
from newgameplus.games.formats import read_documents
from newgameplus.games.formats.document import Document
from newgameplus.games.meanings import Guess, guess_meanings, guess_rules
from newgameplus.games.scenes import MEANINGS, NOTHING, Level, Scene
from newgameplus.games.stacking import NOTHING_NAME, Stack, stack
from newgameplus.recipe import SceneRecipe
from newgameplus.scenarios.recipe_text import plain_name, quoted

if TYPE_CHECKING:
    from newgameplus.scenarios.scene_data import SceneGame

__all__ = ["check_scene", "document_notes", "init_scene"]

_COMMENT_COLUMN = 30
_LONGEST_LINE = 120
_FEW_MAPS = 5
#: A level this many times as high as wide is made row by row.
_TALL = 2


def init_scene(maps: str | Path, *, name: str = "", skip_bad: bool = False, legend: str | Path | None = None) -> str:
    """Return a commented recipe for maps, ready to run; what tiles mean is guessed, with the reason beside it.

    Args:
        maps: A map, or a folder of maps.
        name: Name of the run folder; by default the folder's name.
        skip_bad: Leave out maps that cannot be read; the recipe then does so too.
        legend: JSON file that says what the characters of text maps stand for.

    Raises:
        DataError: No map can be read, or none of these can be generated.
    """
    usable, scenes, notes = _read_maps(maps, legend, skip_bad)
    guesses = guess_meanings(scenes)
    chosen, levels = _stacked(scenes, guesses, maps)
    rules = guess_rules(levels)
    notes += [f"{_plural(len(scenes), 'map')}: few to learn from"] if len(scenes) < _FEW_MAPS else []
    if unknown := sum(not guess.meanings for guess in guesses.values()):
        notes.append(f"of {len(guesses)} kinds of tiles and objects, {unknown} have no meaning yet; say what matters")
    plain = plain_name(name or Path(maps).resolve().stem, longest=80)
    tall = float(np.median([level.height / level.width for level in levels])) >= _TALL
    return _TEMPLATE.format(
        found=_found(usable, scenes, levels),
        notes="".join(f"# Note: {_one_line(note)}\n" for note in notes[:20]),
        name=_with_comment(f"name: {plain}", f"the run folder is runs/<date>-{plain}"),
        path=quoted(str(maps)),
        legend=f"  legend: {quoted(str(legend))}\n" if legend is not None else "",
        tiles=_tile_lines(scenes, guesses) or " {}",
        meanings=_MEANINGS,
        rules=_with_comment(f"  rules: {rules.rules}", f"guessed: {rules.reason}"),
        layers=_with_comment(
            f"  # layers: [{', '.join(map(quoted, chosen.layers))}]",
            "learnt and made; take some away to keep them as they are",
        ),
        scan=_with_comment(
            "  scan: rows" if tall else "  scan: columns", "how levels grow: to the right (columns) or down"
        ),
        skip_bad="true" if skip_bad else "false",
    )


def _read_maps(
    maps: str | Path, legend: str | Path | None, skip_bad: bool
) -> tuple[list[Document], list[Scene], list[str]]:
    """Return the files that levels can be made for, their maps, and what readers have to say."""
    documents, left_out = read_documents(Path(maps), legend=None if legend is None else Path(legend), skip_bad=skip_bad)
    for problem in left_out:
        progress.say(f"left out {problem}")
    usable = [document for document in documents if document.generable]
    scenes = [scene for document in usable for scene in document.scenes]
    notes = document_notes(documents)
    if not scenes:
        remedy = "; ".join(notes[:5]) or "give maps with tiles in them"
        raise DataError("no map here can be generated", source=str(maps), remedy=remedy)
    return usable, scenes, notes


def _stacked(scenes: Sequence[Scene], guesses: Mapping[str, Guess], maps: str | Path) -> tuple[Stack, list[Level]]:
    try:
        return stack(scenes, meanings={tile: guess.meanings for tile, guess in guesses.items()})
    except DataError as error:
        remedy = "give the maps of one game, whose layers have the same names"
        raise DataError(error.message, source=str(maps), remedy=f"{remedy} ({error.remedy})") from error


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def document_notes(documents: Sequence[Document]) -> list[str]:
    """Return what readers have to say about files, once for all files that it is about."""
    about: dict[str, list[str]] = {}
    for document in documents:
        for note in document.notes:
            about.setdefault(note, []).append(document.path.name)
    return [f"{files[0] if len(files) == 1 else f'{len(files)} files'}: {note}" for note, files in about.items()]


def _found(documents: Sequence[Document], scenes: Sequence[Scene], levels: Sequence[Level]) -> str:
    """Describe the maps as comment lines."""
    formats = ", ".join(f"{count} {name}" for name, count in Counter(one.format for one in documents).most_common())
    files = _plural(len(documents), "file")
    lines = [f"Found: {_plural(len(scenes), 'map')} in {files} ({formats}), {_sizes(levels)} tiles."]
    layers = Counter(name for scene in scenes for name in scene.layer_names)
    if len(layers) > 1:
        told = ", ".join(f"{_one_line(name)} ({count})" for name, count in layers.most_common(12))
        lines.append(f"Layers, and in how many maps: {told}{', ...' if len(layers) > 12 else ''}.")
    objects = Counter(one.kind or "without a kind" for scene in scenes for one in scene.objects)
    if objects:
        told = ", ".join(f"{_one_line(kind)} ({count})" for kind, count in objects.most_common(12))
        lines.append(f"Objects: {told}{', ...' if len(objects) > 12 else ''}.")
    return "".join(f"# {line}\n" for line in lines)


def _sizes(levels: Sequence[Level]) -> str:
    heights, widths = [level.height for level in levels], [level.width for level in levels]
    least, most = f"{min(heights)}x{min(widths)}", f"{max(heights)}x{max(widths)}"
    return least if least == most else f"{least} to {most}"


def _tile_lines(scenes: Sequence[Scene], guesses: Mapping[str, Guess]) -> str:
    """Write every tile in use with what it may mean and why, the most frequent first."""
    counts = _tile_counts(scenes)
    order = sorted(guesses, key=lambda tile: (-counts[tile], tile))
    lines = []
    for tile in order:
        meanings = ", ".join(guesses[tile].meanings)
        lines.append(
            _with_comment(f"    {quoted(tile)}: [{meanings}]", f"{counts[tile]:,} times; {guesses[tile].reason}")
        )
    return "".join(f"\n{line}" for line in lines)


def _tile_counts(scenes: Sequence[Scene]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for scene in scenes:
        numbers, often = np.unique(scene.layers, return_counts=True)
        for number, count in zip(numbers.tolist(), often.tolist(), strict=True):
            if number != NOTHING:
                counts[scene.tileset.names[number]] += count
        counts.update(f"@{one.kind}" for one in scene.objects)
        counts[NOTHING_NAME] += int((scene.layers == NOTHING).all(axis=0).sum())
    return counts


def _with_comment(text: str, comment: str) -> str:
    line = f"{text:<{_COMMENT_COLUMN}}  # {_one_line(comment)}"
    return line if len(line) <= _LONGEST_LINE or len(text) > 80 else f"{line[: _LONGEST_LINE - 3]}..."


def _one_line(text: str) -> str:
    return text if text.isprintable() else " ".join(repr(text)[1:-1].split())


_MEANINGS = "\n".join(
    textwrap.wrap(
        f"What a tile means to a player is one or several of: {', '.join(MEANINGS)}. key and door may name a kind, as "
        "in key:red. A tile that means nothing is only looked at.",
        width=_LONGEST_LINE,
        initial_indent="  # ",
        subsequent_indent="  # ",
        break_on_hyphens=False,
    )
)

_TEMPLATE = """\
# A recipe of New Game+: which maps, what their tiles mean, what can be played, and what fine-tuning must beat.
{found}{notes}# Next: correct what the tiles mean, then: ngp check this-file.yaml, and ngp fit this-file.yaml

scenario: scene
{name}
seed: 0

data:
  path: {path}
{legend}{meanings}
  tiles:{tiles}
{rules}
  # rules: own.yaml, or module:function, or gymnasium:ID; see ngp check-scenes, which draws what can be reached
{scan}
{layers}
  test: 0.2                     # share of the maps kept for the final evaluation
  validation: auto              # share that decides when to stop; auto is 0.1, or 0 with fewer than 20 maps
  # max_levels: 10              # use only so many maps (to see what more maps would bring)
  # captions: captions.csv      # name,caption: words of your own about each map
  skip_bad: {skip_bad}               # true leaves out maps that cannot be read, and says which

model:
  start: bundled:tiles          # or transformers:NAME-OR-FOLDER (GPT-2 and the like), or a list to choose from

adapt:
  strategy: full                # full | probe (new tiles only) | lp-ft (new tiles first, then all) | gradual | lora
                                # | l2-sp | surgical-first | surgical-middle | surgical-last (new tiles and one block)

control:
  measures: auto                # what can be asked for: enemies, gaps, density, tile:NAME ...; auto is all there is

train:
  steps: 600
  batch_size: 8
  learning_rate: 0.001

generate:
  # size: 14x150                # HEIGHTxWIDTH in tiles; by default the sizes of the maps
  budget_samples: 20            # samples that each level asked for may take
  min_distance: 5               # tiles in which a level must differ from every map, or it is a copy

evaluate:
  baselines: [zero-shot, scratch, markov, wave-function-collapse, nearest-copy]
  samples: 40                   # levels that each model makes for the raw figures
"""


def check_scene(recipe: SceneRecipe) -> tuple[list[Problem], dict[str, Any]]:
    """Look for everything that would stop a fit, and estimate what it will cost. Nothing is trained.

    All maps are read and solved, which is what takes the time.

    Returns:
        All problems found, and a plan: what the maps hold, split, rules, model, and estimated seconds and bytes.
    """
    # Here and not above: writing a recipe needs no torch, whose import alone takes seconds.
    from newgameplus.scenarios.scene_costs import estimate_costs
    from newgameplus.scenarios.scene_data import load_scene_game
    from newgameplus.scenarios.scene_start import load_candidate, refuse_unadaptable

    problems: list[Problem] = []
    usable: list[str] = []
    plan: dict[str, Any] = {"left_out": [], "notes": [], "candidates": usable}
    game: SceneGame | None = None
    began = time.monotonic()
    try:
        game = load_scene_game(recipe)
    except NewGamePlusError as error:
        problems += error.problems
    else:
        plan |= _game_plan(game)
        problems += _rules_problems(game, recipe)
    seconds = time.monotonic() - began
    for name in recipe.model.with_found(lambda: ["bundled:tiles"]):
        try:
            model = load_candidate(recipe, name)
            refuse_unadaptable(recipe, name, model)
        except NewGamePlusError as error:
            problems += recipe.model.about(name, error.problems)
            continue
        usable.append(name)
        if game is not None and "model" not in plan:
            plan |= estimate_costs(recipe, model, game, seconds / len(game.levels))
    return list(dict.fromkeys(problems)), plan


def _game_plan(game: SceneGame) -> dict[str, Any]:
    """Describe the maps as plain data."""
    solved = Counter(answer.status for answer in game.answers)
    parts = {"train": game.train, "validation": game.validation, "test": game.test}
    tileset = game.stack.tileset
    notes = [*game.notes, *_playability_notes(game), *_repeat_notes(game)]
    if strange := [tile.name for tile in tileset.tiles if not tile.meanings]:
        told = ", ".join(map(repr, strange[:8]))
        notes.append(f"{len(strange)} tiles mean nothing to a player: {told}{', ...' if len(strange) > 8 else ''}")
    if not len(game.test):
        notes.append("no map is left to test on; bits per tile on unseen maps will be missing from the evaluation")
    return {
        "left_out": [{"message": p.message, "source": p.source, "remedy": p.remedy} for p in game.left_out],
        "format": ", ".join(sorted({document.format for document in game.documents})),
        "maps": len(game.levels),
        "split": {part: len(numbers) for part, numbers in parts.items()},
        "sizes": _sizes(game.levels),
        "layers": [name for name in game.stack.layers if name],
        "tiles": len(tileset),
        "tokens": int(sum(level.tiles.size for level in game.some(game.train))),
        "rules": game.rules.name,
        "solved": {status: solved[status] for status in ("playable", "unplayable", "undecided")},
        "measures": list(game.measures),
        "notes": notes,
    }


def _playability_notes(game: SceneGame) -> list[str]:
    """Say which maps the rules do not pass, where some pass."""
    failed = [number for number, answer in enumerate(game.answers) if not answer.playable]
    if not failed or len(failed) == len(game.answers):
        return []
    first = failed[0]
    answer = game.answers[first]
    told = f"{len(failed)} of {len(game.answers)} maps cannot be played by these rules"
    notes = [f"{told}; the first, {game.levels[first].name}: {answer.reason or answer.status}"]
    return notes + [f"the rules need {need}, and no tile has it" for need in game.rules.needs(game.levels[first])]


def _repeat_notes(game: SceneGame) -> list[str]:
    """Say which maps hold the same tiles, above all where one is for training and the other for testing."""
    known = {(level.tiles.shape, level.tiles.tobytes()): level.name for level in game.known}
    again = [level for level in game.some(game.test) if (level.tiles.shape, level.tiles.tobytes()) in known]
    distinct = {(level.tiles.shape, level.tiles.tobytes()) for level in game.levels}
    notes = []
    if again:
        first = again[0]
        twin = known[first.tiles.shape, first.tiles.tobytes()]
        notes.append(
            f"{len(again)} test maps are also for training, such as {first.name} and {twin}: remove the copies"
        )
    elif len(distinct) < len(game.levels):
        notes.append(f"{len(game.levels) - len(distinct)} maps are copies of others")
    return notes


def _rules_problems(game: SceneGame, recipe: SceneRecipe) -> list[Problem]:
    """Return a problem if no map at all can be played: then either the rules or the meanings of tiles are wrong."""
    if any(answer.playable for answer in game.answers):
        return []
    first, answer = game.levels[0], game.answers[0]
    message = (
        f"none of the {len(game.levels)} maps can be played by the rules {game.rules.name!r}; "
        f"the first, {first.name}: {answer.reason or answer.status}"
    )
    needs = "".join(f"the rules need {need}, and no tile has it; " for need in game.rules.needs(first))
    look = f"see where it gets stuck: ngp check-scenes {recipe.data.path} --rules {recipe.data.rules} --out pictures"
    remedy = f"{needs}correct data.tiles or data.rules; {look}"
    if all(one.status == "undecided" for one in game.answers):
        remedy = f"raise generate.solver_nodes (now {recipe.generate.solver_nodes:,}); {look}"
    return [Problem(message, "data.rules", remedy)]
