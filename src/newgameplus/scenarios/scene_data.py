"""What the scene scenario loads: a designer's maps as levels, what they mean, what they measure, and how they split."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import DataError, Problem, RunError
from newgameplus.files import digest_bytes
from newgameplus.games.conditions import column_counts
from newgameplus.games.formats import read_documents
from newgameplus.games.formats.document import Document
from newgameplus.games.measures import find_measure, measure, measures_of
from newgameplus.games.rules import open_rules
from newgameplus.games.rules.contract import Answer, Budget, Proof, Rules
from newgameplus.games.scanning import Order, to_scan
from newgameplus.games.scenes import Level, Scene
from newgameplus.games.stacking import Stack, stack
from newgameplus.games.structure import Structure, learn_structure
from newgameplus.games.way_tiles import WayTiles
from newgameplus.recipe_scene import SceneDataSettings, SceneRecipe
from newgameplus.run import Run
from newgameplus.train.levels import LevelExample

__all__ = ["SceneGame", "choose_measures", "load_scene_game", "open_game_rules", "read_levels", "scene_recipe"]

Indices = npt.NDArray[np.int64]
_FEW = 20
_NODES_PER_MAP = 20_000
"""The maker's maps are taken for playable: a hard one that stays undecided costs nothing but its solver measures."""
_RARE = 0.05
_FEWEST = 3
_FEWEST_PLAYABLE = 5
_MOST_TILE_MEASURES = 24


@dataclass(eq=False)
class SceneGame:
    """Everything the four steps need to know about the maps.

    Attributes:
        documents: The files, kept whole.
        scenes: For each level, its file's and its own number.
        stack: How levels are made of scenes, and scenes of levels.
        levels: All levels, over one tileset.
        groups: File of each level; one file never straddles a split.
        rules: What can be played.
        answers: The solver's answer to each level.
        measures: What can be asked for.
        values: What each level measures.
        structure: Hard structure of the training levels.
        way: The tiles that models learn: the maps' own, and twins with the solver's way on them.
        train, validation, test: Numbers of levels.
        left_out: Files that could not be used.
        notes: What a user should know.
    """

    documents: list[Document]
    scenes: list[tuple[int, int]]
    stack: Stack
    levels: list[Level]
    groups: list[str]
    rules: Rules
    answers: list[Answer]
    measures: tuple[str, ...]
    values: list[dict[str, float]]
    structure: Structure
    way: WayTiles
    train: Indices
    validation: Indices
    test: Indices
    left_out: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def some(self, numbers: Indices) -> list[Level]:
        """Return some of the levels."""
        return [self.levels[number] for number in numbers]

    @property
    def known(self) -> list[Level]:
        """The levels that models may learn from: training and validation."""
        return self.some(np.concatenate([self.train, self.validation]))

    def examples(self, numbers: Indices, order: Order, *, mirror: bool = False) -> list[LevelExample]:
        """Return levels as examples for training, with their mirror images if wanted and fit."""
        examples: list[LevelExample] = []
        for number in numbers:
            proof = self.answers[number].proof if self.answers else None
            examples += self.images(self.levels[number], proof, self.values[number], order, mirror=mirror)
        return examples

    def images(
        self, level: Level, proof: Proof | None, values: Mapping[str, float], order: Order, *, mirror: bool = False
    ) -> list[LevelExample]:
        """Return a level as an example for training, with its way drawn in, and its mirror images if wanted and fit.

        Args:
            level: Any level of this game.
            proof: How it is played, if that is known.
            values: What it measures.
            order: How levels grow.
            mirror: Whether images are wanted.
        """
        examples = []
        drawn = self.way.draw(level, self.rules.way(proof) if proof else ())
        structure = self.structure if mirror and not self.rules.grows else None
        for image, tiles in _images(level, drawn, structure, turns=self.rules.turns):
            now = measure(image, self.measures)
            told = {**values, **{name: value for name, value in now.items() if value == value}}
            counts = column_counts(image, self.measures, by_rows=order == "rows")
            examples.append(LevelExample(to_scan(tiles, order), told, counts))
        return examples

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells whether the maps are still the same."""
        digests = {}
        for group, level in zip(self.groups, self.levels, strict=True):
            digest = digest_bytes(level.tiles.tobytes(), repr(level.tiles.shape).encode())
            name = f"{Path(group).name}:{level.name}"
            digests[name if name not in digests else f"{group}:{level.name}"] = digest
        return {"levels": digests, "tiles": list(self.stack.tileset.names), "measures": list(self.measures)}


def _images(
    level: Level, drawn: npt.NDArray[np.int32], structure: Structure | None, *, turns: bool
) -> list[tuple[Level, npt.NDArray[np.int32]]]:
    """Return a level and those of its mirror images that keep the structure, each with its way drawn in.

    Args:
        level: The level.
        drawn: int32 [height, width]: its tiles with the way.
        structure: What images must keep; None for no images.
        turns: Whether images turned by a quarter are as good.
    """
    images = [(level, drawn)]
    if structure is None:
        return images
    broken = len(structure.breaks(level))
    for turned in (False, True) if turns else (False,):
        plain, way = (level.tiles.T, drawn.T) if turned else (level.tiles, drawn)
        for mirror in (np.s_[:], np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1]):
            image = level.with_tiles(np.ascontiguousarray(plain[mirror]))
            if (turned or mirror != np.s_[:]) and len(structure.breaks(image)) <= broken:
                images.append((image, np.ascontiguousarray(way[mirror])))
    return images


def scene_recipe(run: Run) -> SceneRecipe:
    """Return the recipe of a scene run.

    Raises:
        RunError: The run is of another scenario.
    """
    recipe = run.recipe
    if isinstance(recipe, SceneRecipe):
        return recipe
    message = f"this run is of the scenario {recipe.scenario}, which makes no levels"
    raise RunError(message, source=str(run.folder), remedy="fit a recipe of the scenario scene first")


def read_levels(
    settings: SceneDataSettings, path: str
) -> tuple[list[Document], list[tuple[int, int]], list[Scene], list[Problem], list[str]]:
    """Read maps: documents, the numbers of their scenes, the scenes, what was left out, and notes."""
    documents, left_out = read_documents(
        Path(path),
        format=settings.format,
        legend=Path(settings.legend) if settings.legend else None,
        skip_bad=settings.skip_bad,
    )
    from newgameplus.scenarios.scene_recipe import document_notes  # that module checks what this one loads

    notes = document_notes(documents)
    numbers, scenes = [], []
    for index, document in enumerate(documents):
        if document.generable:
            numbers += [(index, number) for number in range(len(document.scenes))]
            scenes += list(document.scenes)
    if not scenes:
        remedy = "give orthogonal maps; hexagonal and isometric ones are read and kept, not generated yet"
        raise DataError("no map here can be generated", source=path, remedy=remedy)
    return documents, numbers, scenes, left_out, notes


def open_game_rules(settings: SceneDataSettings, levels: Sequence[Level]) -> Rules:
    """Open the recipe's rules; a platformer learns its whole structures from the maps unless they are given."""
    options = dict(settings.rules_options)
    if settings.rules == "platformer" and "structures" not in options:
        from newgameplus.games.rules.platformer_structures import learn_structures

        options["structures"] = [rule.as_dict() for rule in learn_structures(levels)]
    return open_rules(settings.rules, options=options)


def load_scene_game(recipe: SceneRecipe, *, solve: bool = True) -> SceneGame:
    """Load the maps of a recipe.

    Args:
        recipe: The recipe.
        solve: Solve every level, for the measures that the solver tells.

    Raises:
        DataError: Maps cannot be read or used; all problems at once.
        RecipeError: The rules cannot be opened.
    """
    settings = recipe.data
    documents, numbers, scenes, left_out, notes = read_levels(settings, settings.path)
    own = len(documents)
    if settings.test_path:
        more, other, others, bad, told = read_levels(settings, settings.test_path)
        documents, scenes, left_out, notes = documents + more, scenes + others, left_out + bad, notes + told
        numbers += [(own + document, scene) for document, scene in other]
    stacked, levels = stack(scenes, layers=settings.layers, meanings=settings.tiles or None)
    groups = [str(documents[document].path) for document, _ in numbers]
    levels = _named(levels, groups, settings.captions)
    train, validation, test = _split(recipe, numbers, groups, own)
    rules = open_game_rules(settings, [levels[n] for n in train])
    budget = Budget(nodes=min(recipe.generate.solver_nodes, _NODES_PER_MAP))
    answers = []
    if solve:
        with progress.task("solving the maps", len(levels), "maps") as bar:
            for level in levels:
                answers.append(rules.solve(level, budget))
                bar.advance()
    train, notes = _playable(recipe, train, answers, levels, notes)
    names = choose_measures(recipe, [levels[n] for n in train], bool(answers))
    values = [measure(level, names, answers[n] if answers else None) for n, level in enumerate(levels)]
    if recipe.control.measures == "auto":
        names = tuple(name for name in names if name in _TIED or _differs([values[n][name] for n in train]))
    structure = learn_structure([levels[n] for n in train])
    way = _way_tiles(recipe, rules, [levels[n] for n in train], [answers[n] for n in train] if answers else [])
    if way.drawn:  # a map without its way would teach that a level needs none
        train, validation = (_of_playable(numbers, answers) for numbers in (train, validation))
    return SceneGame(
        documents, numbers, stacked, levels, groups, rules, answers, names, values, structure, way, train, validation,
        test, left_out, notes,
    )  # fmt: skip


def _playable(
    recipe: SceneRecipe, train: Indices, answers: Sequence[Answer], levels: Sequence[Level], notes: list[str]
) -> tuple[Indices, list[str]]:
    """Leave out training maps that are proven unplayable, if the recipe says so and enough are left."""
    if recipe.data.unplayable == "learn" or not answers:
        return train, notes
    kept = np.array([n for n in train if answers[n].status != "unplayable"], np.int64)
    if len(kept) == len(train) or len(kept) < _FEWEST_PLAYABLE:
        return train, notes
    names = [levels[n].name for n in train if answers[n].status == "unplayable"]
    told = f"{len(names)} maps that cannot be played are not learned from: {', '.join(names[:5])}"
    return kept, [*notes, told]


def _of_playable(numbers: Indices, answers: Sequence[Answer]) -> Indices:
    return np.array([n for n in numbers if answers[n].playable], np.int64)


def _way_tiles(recipe: SceneRecipe, rules: Rules, levels: Sequence[Level], answers: Sequence[Answer]) -> WayTiles:
    """Return twins for the tiles that the solver's ways cross, where the recipe and the game have use for them."""
    ways = [rules.way(answer.proof) if answer.proof else () for answer in answers]
    drawn = recipe.data.draw_way == "auto" and rules.draws_way and sum(map(bool, ways)) * 2 >= max(1, len(levels))
    return WayTiles.of(levels, ways, throughout=rules.grows) if drawn and ways else WayTiles.none(levels[0].tileset)


def _named(levels: list[Level], groups: list[str], captions: str | None) -> list[Level]:
    from dataclasses import replace

    words = _read_captions(Path(captions)) if captions else {}
    named = []
    for level, group in zip(levels, groups, strict=True):
        name = level.name or Path(group).stem
        named.append(replace(level, name=name, caption=words.get(name, words.get(Path(group).name, level.caption))))
    return named


def _read_captions(path: Path) -> dict[str, str]:
    remedy = "a CSV file with the columns name and caption"
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the captions: {error}", source=str(path), remedy=remedy) from error
    if rows and not {"name", "caption"} <= set(rows[0]):
        raise DataError(f"columns are {', '.join(map(str, rows[0]))}", source=f"{path}:1", remedy=remedy)
    return {str(row["name"]): str(row["caption"]) for row in rows}


def choose_measures(recipe: SceneRecipe, levels: Sequence[Level], solved: bool) -> tuple[str, ...]:
    """Return what can be asked of levels like these: the recipe's own list, or all that differs between them.

    ``auto`` takes every measure whose tiles occur, and the counts of tiles that are rarer than one in twenty.

    Raises:
        DataError: The recipe names a measure that does not exist.
    """
    if recipe.control.measures != "auto":
        for name in recipe.control.measures:
            find_measure(name, levels[0])
        return tuple(recipe.control.measures)
    names = [name for name in measures_of(levels) if solved or name not in _SOLVED]
    tileset = levels[0].tileset
    counts = sum(np.bincount(level.tiles.ravel(), minlength=len(tileset)) for level in levels)
    shares = np.asarray(counts) / max(1, np.sum(counts))
    rare = [tile for tile in np.argsort(-shares, kind="stable") if 0 < shares[tile] < _RARE]
    return (*names, *(f"tile:{tileset.names[tile]}" for tile in sorted(rare[:_MOST_TILE_MEASURES])))


_TIED = ("boxes", "goals")


def _differs(values: Sequence[float]) -> bool:
    """Whether a measure tells levels apart; with a few levels one cannot know."""
    known = {value for value in values if value == value}
    return len(known) > 1 or (len(known) == 1 and len(values) < _FEWEST)


_SOLVED = ("path_length", "jumps", "pushes", "difficulty")


def _split(
    recipe: SceneRecipe, numbers: list[tuple[int, int]], groups: list[str], own: int
) -> tuple[Indices, Indices, Indices]:
    """Split levels by file; a single file of many levels is split level by level."""
    settings = recipe.data
    mine = [n for n, (document, _) in enumerate(numbers) if document < own]
    others = [n for n, (document, _) in enumerate(numbers) if document >= own]
    several = len({groups[n] for n in mine}) > 1
    units: dict[str, list[int]] = {}
    for n in mine:
        units.setdefault(groups[n] if several else str(n), []).append(n)
    order = np.random.default_rng(recipe.seed).permutation(len(units))
    shuffled = [list(units.values())[index] for index in order]
    share = 0.0 if settings.test_path else settings.test
    test_count = min(round(share * len(shuffled)), len(shuffled) - 1)
    if share > 0 and len(shuffled) > 1:
        test_count = max(1, test_count)
    rest = shuffled[test_count:]
    if settings.max_levels is not None:
        rest = rest[: settings.max_levels]
    wanted = (0.1 if len(rest) >= _FEW else 0.0) if settings.validation == "auto" else settings.validation
    held = min(round(wanted * len(rest)), len(rest) - 1)
    if wanted > 0 and len(rest) > 1:
        held = max(1, held)

    def flat(parts: list[list[int]]) -> Indices:
        return np.array(sorted(n for part in parts for n in part), np.int64)

    test = np.array(others, np.int64) if settings.test_path else flat(shuffled[:test_count])
    return flat(rest[held:]), flat(rest[:held]), test
