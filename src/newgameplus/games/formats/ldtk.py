"""LDtk 1.5 projects: every level a scene; whatever else the editor keeps stays in the file as it was written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.files import write_bytes
from newgameplus.games.formats.document import Document
from newgameplus.games.formats.ldtk_level import LevelParts, read_level
from newgameplus.games.formats.ldtk_project import Project, read_project
from newgameplus.games.formats.ldtk_text import items, line_indent, members, spliced, with_values
from newgameplus.games.formats.ldtk_write import level_text
from newgameplus.games.formats.plain import read_text
from newgameplus.games.scenes import NOTHING, Scene, Tileset

__all__ = ["NAME", "SUFFIXES", "LdtkDocument", "read", "sniff"]

NAME = "ldtk"
SUFFIXES = (".ldtk", ".json")
_MARK = "\ufeff"
_SAVE = "open it in LDtk 1.5 and save it again"
_PATHS = re.compile(r'("(?:relPath|bgRelPath|__tilesetRelPath)"\s*:\s*)("(?:[^"\\]|\\.)+")')


def sniff(path: Path, head: bytes) -> bool:
    """Say whether a file is an LDtk project; any ``.ldtk`` is, JSON if it says so."""
    return path.suffix.lower() == ".ldtk" or b'"LDtk Project JSON"' in head


@dataclass(frozen=True)
class _Level:
    """The text of one level.

    Attributes:
        stub: What the project's file holds of it: all, or what LDtk leaves there when levels have files of their own.
        file: The level's own file as the project names it, or empty.
        own: Text of that file.
    """

    stub: str
    file: str = ""
    own: str = ""

    @property
    def text(self) -> str:
        return self.own if self.file else self.stub

    def with_values(self, values: Mapping[str, Any]) -> _Level:
        """Return it with other values of the level's keys, in both places."""
        return replace(self, stub=with_values(self.stub, values), own=self.own and with_values(self.own, values))


@dataclass(frozen=True, eq=False)
class LdtkDocument(Document):
    """An LDtk project.

    Attributes:
        between: What stands in the project's file before, between and after the levels: one more than levels.
        levels: Texts of the levels.
        project: What the project defines.
        marked: Whether the file begins with a byte-order mark.
        edited: Whether anything was changed.
    """

    path: Path
    between: tuple[str, ...]
    levels: tuple[_Level, ...]
    project: Project
    marked: bool = False
    edited: bool = False
    more_notes: tuple[str, ...] = ()
    format: str = NAME
    generable: bool = True

    @cached_property
    def _parts(self) -> tuple[LevelParts, ...]:
        problems: list[Problem] = []
        parts = []
        for level in self.levels:
            source = str(self.path.parent / level.file) if level.file else str(self.path)
            try:
                parts.append(read_level(level.text, self.project, source))
            except DataError as error:
                problems += error.problems
        raise_problems(problems, DataError, f"{self.path}: {len(problems)} problems in the levels")
        return tuple(parts)

    @cached_property
    def tileset(self) -> Tileset:
        """Values and tiles that the project defines, then flipped and unknown ones that its levels show."""
        tiles = {tile.name: tile for tile in self.project.tiles()}
        for parts in self._parts:
            for layer in parts.layers:
                shown = [] if not layer.in_scene or layer.codes is None else np.unique(layer.codes).tolist()
                for tile in (layer.tile(code) for code in shown if code != NOTHING):
                    tiles.setdefault(tile.name, tile)
        return Tileset(tuple(tiles.values()))

    @cached_property
    def scenes(self) -> tuple[Scene, ...]:
        """One scene a level: its IntGrid and tile layers on the common grid, the last one on top, and its entities."""
        return tuple(self._scene(parts, self.tileset) for parts in self._parts)

    def _scene(self, parts: LevelParts, tileset: Tileset) -> Scene:
        grids, names = [], []
        for layer in reversed(parts.layers):
            if layer.in_scene and layer.codes is not None:
                codes, inverse = np.unique(layer.codes, return_inverse=True)
                numbers = [
                    NOTHING if code == NOTHING else tileset.index[layer.tile(code).name] for code in codes.tolist()
                ]
                grids.append(np.array(numbers, np.int32)[inverse].reshape(layer.codes.shape))
                names.append(layer.name)
        layers = np.stack(grids) if grids else np.zeros((0, parts.height, parts.width), np.int32)
        return Scene(parts.name, layers, tuple(names), tileset, parts.objects, parts.properties, self.path)

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """What is kept but not seen, and what the editor will do."""
        return tuple(dict.fromkeys([*(note for parts in self._parts for note in parts.notes), *self.more_notes]))

    def with_scene(self, index: int, scene: Scene) -> LdtkDocument:
        """Return a copy in which a level holds a scene; tiles and entities are found by name."""
        level, parts = self.levels[index], self._parts[index]
        source = f"{self.path} {parts.name}"
        text, notes = level_text(level.text, parts, scene, self.project, source)
        if text == level.text:
            return self
        sizes = {key: json.loads(text)[key] for key in ("pxWid", "pxHei")}
        new = _Level(with_values(level.stub, sizes), level.file, text) if level.file else _Level(text)
        levels = (*self.levels[:index], new, *self.levels[index + 1 :])
        return replace(self, levels=levels, edited=True, more_notes=(*self.more_notes, *notes))

    def only(self, index: int, name: str = "") -> LdtkDocument:
        """Return a copy with one level alone; a new name is written with the characters LDtk allows."""
        between = list(self.between)
        for other in reversed(range(len(self.levels))):
            if other != index:
                before, after = between[other], between[other + 1]
                separates = not before.strip(" \t\r\n,")
                drop = other if separates and other > 0 else other + 1
                lone = between[drop].strip(" \t\r\n,")
                between[other : other + 2] = [before + after] if lone else [after if drop == other else before]
        level = self.levels[index]
        if len(self.levels) > 1:
            level = level.with_values({"__neighbours": []})
        if name:
            identifier = re.sub(r"\W", "_", name, flags=re.ASCII)
            identifier = identifier if identifier[:1].isalpha() else f"Level_{identifier}"
            level = level.with_values({"identifier": identifier, "useAutoIdentifier": False})
            if level.file:
                file = str(PurePosixPath(level.file).with_name(f"{identifier}.ldtkl"))
                level = replace(level, stub=with_values(level.stub, {"externalRelPath": file}), file=file)
        edited = self.edited or len(self.levels) > 1 or level is not self.levels[index]
        return replace(self, between=tuple(between), levels=(level,), edited=edited)

    def write(self, path: Path) -> list[Path]:
        """Write the project, and its levels' own files into a folder with the project's name."""
        path = Path(path)
        written, stubs = [], []
        for level in self.levels:
            file, stub = level.file, level.stub
            if file and path.stem != self.path.stem:
                inside = PurePosixPath(file).parts
                file = str(PurePosixPath(path.stem, *(inside[1:] if len(inside) > 1 else inside)))
                stub = with_values(stub, {"externalRelPath": file})
            if file:
                written.append(path.parent / file)
                write_bytes(written[-1], self._moved(level.own, path.parent).encode("utf-8"))
            stubs.append(stub)
        pairs = zip(self.between, [*stubs, ""], strict=True)
        text = "".join(piece for pair in pairs for piece in pair)
        text = _current_contents(text, self._iids()) if self.edited else text
        write_bytes(path, ((_MARK if self.marked else "") + self._moved(text, path.parent)).encode("utf-8"))
        return [path, *written]

    def _moved(self, text: str, folder: Path) -> str:
        """Return the text with paths of pictures that lead from another folder to the same files."""
        old, new = self.path.parent.resolve(), folder.resolve()
        if old == new:
            return text

        def moved(found: re.Match[str]) -> str:
            relative = json.loads(found[2])
            if os.path.isabs(relative) or re.match(r"[A-Za-z]:|\\\\", relative):
                return found[0]
            return found[1] + json.dumps(Path(os.path.relpath(old / relative, new)).as_posix(), ensure_ascii=False)

        return _PATHS.sub(moved, text)

    def _iids(self) -> set[str]:
        layers = [layer for parts in self._parts for layer in parts.layers]
        return {str(one.get("iid")) for layer in layers for one in layer.entities}


def _current_contents(text: str, iids: set[str]) -> str:
    """Leave entities that are gone out of the project's table of contents, which importers follow."""
    span = members(text).get("toc")
    contents = json.loads(text[slice(*span)]) if span else None
    if span is None or not isinstance(contents, list) or not all(isinstance(entry, dict) for entry in contents):
        return text

    def alive(one: Any) -> bool:
        holder = one.get("iids", one) if isinstance(one, dict) else {}
        return not isinstance(holder, dict) or str(holder.get("entityIid")) in iids

    kept = [
        {
            key: [one for one in value if alive(one)] if isinstance(value, list) else value
            for key, value in entry.items()
        }
        for entry in contents
    ]
    if kept == contents:
        return text
    indent = line_indent(text, span[0])
    new = json.dumps(kept, ensure_ascii=False, indent=None if indent is None else "\t")
    return spliced(text, [(*span, new.replace("\n", f"\n{indent}"))])


def read(path: Path, *, legend: Path | None = None) -> LdtkDocument:
    """Read an LDtk project, its levels' own files included. A legend is not needed: values have names.

    Raises:
        DataError: It is no JSON, no LDtk project, a level's file is missing, or with everything wrong in its levels.
    """
    del legend
    content = read_text(path)
    text = content.removeprefix(_MARK)
    root = _json(text, path)
    if not isinstance(root, dict) or "defs" not in root:
        raise DataError("no LDtk project", source=str(path), remedy=_SAVE)
    project = read_project(root, path)
    spans = [span for start in _level_lists(text, root, path) for span in items(text, start)]
    if not spans:
        raise DataError("the project has no levels", source=str(path), remedy="add one in LDtk")
    edges = [0, *(place for span in spans for place in span), len(text)]
    between = tuple(text[edges[number] : edges[number + 1]] for number in range(0, len(edges), 2))
    levels = _levels([text[start:end] for start, end in spans], path)
    document = LdtkDocument(path, between, levels, project, content.startswith(_MARK), more_notes=_version(root))
    names = [scene.name for scene in document.scenes]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two levels are called {twice!r}", source=str(path), remedy="rename one in LDtk")
    return document


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError("nested too deeply", source=str(path), remedy=_SAVE) from error
    except ValueError as error:
        line = getattr(error, "lineno", None)
        source = f"{path}:{line}" if line else str(path)
        reason = getattr(error, "msg", str(error))
        raise DataError(f"not JSON ({reason})", source=source, remedy=_SAVE) from error


def _level_lists(text: str, root: Mapping[str, Any], path: Path) -> list[int]:
    """Return where the lists of levels begin: the project's own, or one for each of its worlds."""
    holders: list[tuple[Any, int]] = [(root, 0)]
    spans = members(text)
    if isinstance(root.get("worlds"), list) and root["worlds"]:
        worlds = items(text, spans["worlds"][0])
        holders += [(world, start) for world, (start, _) in zip(root["worlds"], worlds, strict=True)]
    starts = []
    for holder, start in holders:
        if not isinstance(holder, dict) or not isinstance(holder.get("levels", []), list):
            raise DataError("levels is not a list", source=str(path), remedy=_SAVE)
        if "levels" in holder:
            starts.append(members(text, start)["levels"][0])
    return sorted(starts)


def _levels(stubs: Sequence[str], path: Path) -> tuple[_Level, ...]:
    levels: list[_Level] = []
    problems: list[Problem] = []
    for stub in stubs:
        data = json.loads(stub)
        file = data.get("externalRelPath") if isinstance(data, dict) else None
        if not isinstance(data, dict) or data.get("layerInstances") is not None or not file:
            levels.append(_Level(stub))
            continue
        try:
            levels.append(_Level(stub, str(file), _level_file(path, file)))
        except DataError as error:
            problems += error.problems
    raise_problems(problems, DataError, f"{path}: {len(problems)} files of levels cannot be read")
    return tuple(levels)


def _level_file(path: Path, file: Any) -> str:
    """Return the text of a level's own file, which must lie below the project's folder."""
    inside = PurePosixPath(str(file).replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts or re.match(r"[A-Za-z]:", str(file)) or "\0" in str(file):
        remedy = "keep the levels in a folder beside the project"
        raise DataError(f"a level lies outside of the project's folder: {file!r}", source=str(path), remedy=remedy)
    text = read_text(path.parent / inside)
    if not isinstance(_json(text.removeprefix(_MARK), path.parent / inside), dict):
        raise DataError("no LDtk level", source=str(path.parent / inside), remedy=_SAVE)
    return text.removeprefix(_MARK)


def _version(root: Mapping[str, Any]) -> tuple[str, ...]:
    version = str(root.get("jsonVersion"))
    if re.match(r"1\.[5-9]", version):
        return ()
    return (f"written by LDtk {version[:20]}: read as 1.5, which it may not fit everywhere",)
