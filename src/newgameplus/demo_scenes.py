"""The demo's second chapter: two dozen maps of one designer, a tile model fine-tuned on them, and new maps like them.

The "designer" is :mod:`newgameplus.games.generators` with a taste of its own, told in :data:`STYLE`; the bundled tile
model was pretrained on other tastes, drawn from other seeds. The maps are written for Tiled, tileset picture included,
so that what is delivered opens in an editor and looks right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.errors import DataError
from newgameplus.files import write_text
from newgameplus.games.scenes import Level, Tile
from newgameplus.run import Run, read_json

__all__ = [
    "LEVELS",
    "MAPS",
    "SEED",
    "STYLE",
    "WANTED",
    "deliver_levels",
    "scene_recipe_text",
    "write_maps",
    "yaml_path",
]

SEED = 412_026
"""Seed of the demo's maps; together with :data:`STYLE`, which was set by hand, no game of the pretraining."""

MAPS = 24
LEVELS = 3
"""New levels that the demo asks for, after the fit."""
WANTED = MappingProxyType({"enemies": "6"})
"""What it asks of them."""

#: The designer's taste: a meadow with pipes, gaps to jump and blocks to hit, a flag at the end.
STYLE: Mapping[str, Any] = MappingProxyType(
    {
        "height": [14, 14], "width": [56, 56], "theme": "meadow", "acts": 3, "hard": 0.45, "rest": 0.5, "uneven": 0.2,
        "ideas": {"pipes": 1.0, "gaps": 1.0, "blocks": 0.8, "patrol": 0.7, "stairs": 0.5, "high pipe": 0.4},
        "ground": 2, "gap": 3, "enemies": 0.9, "walkers": "wk", "flyers": False, "coins": 0.5, "block_row": "mixed",
        "stairs": "x", "islands": "tree", "one_ways": False, "pipe_plants": 0.0, "sunk_spikes": False,
        "liquid_rows": 0, "ceiling": 0, "rough": False, "dress": 0.6, "bushes": 0.04, "clouds": 0.03,
        "ends": "flag", "ending": 7,
    }
)  # fmt: skip

_AIR = "."
_COLUMNS = 8
_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_RECIPE = """\
# The demo: new maps like those of a designer who drew {maps}. What tiles mean stands in the tileset.
scenario: scene
name: scenes
seed: 0
runs: {runs}
data:
  path: {folder}
  tiles:
    nothing: [empty]
  rules: platformer
model:
  start: bundled:tiles
train:
  steps: 80               # few and small, to keep the demo short: by default 600 steps of 8 windows
  batch_size: 4
evaluate:
  baselines: [zero-shot, scratch, markov]
  samples: 16
  deliver: 4
  requests: 0
"""


def scene_recipe_text(maps: Path, runs: Path) -> str:
    """Return the recipe of the chapter.

    Args:
        maps: Folder of the maps.
        runs: Folder for run folders.
    """
    return _RECIPE.format(maps=MAPS, folder=yaml_path(maps), runs=yaml_path(runs))


def write_maps(folder: Path) -> None:
    """Draw the designer's maps as Tiled files, with tileset and picture; what is there already is left alone.

    Raises:
        StorageError: They cannot be written.
    """
    paths = [folder / f"meadow-{number:02d}.tmx" for number in range(1, MAPS + 1)]
    tileset_path = folder / "meadow.tsx"
    if tileset_path.is_file() and all(path.is_file() for path in paths):
        return
    from newgameplus.games.generators import make_levels

    levels = make_levels("platformer", MAPS, SEED, style=STYLE)
    used = np.unique(np.concatenate([level.tiles.ravel() for level in levels])).tolist()
    tiles = [tile for number, tile in enumerate(levels[0].tileset.tiles) if number in used and tile.name != _AIR]
    if not tileset_path.is_file():
        _write_tileset(tileset_path, tiles)
    for path, level in zip(paths, levels, strict=True):
        if not path.is_file():
            write_text(path, _map_text(level, tiles))


def _write_tileset(path: Path, tiles: Sequence[Tile]) -> None:
    """Draw ``meadow.png``, and write ``meadow.tsx``, which says what each of its tiles means."""
    from PIL import Image

    from newgameplus.demo_tileset import PIXELS, draw_tile
    from newgameplus.games.pictures import write_png

    picture = path.with_suffix(".png")
    rows = -(-len(tiles) // _COLUMNS)
    sheet = Image.new("RGBA", (_COLUMNS * PIXELS, rows * PIXELS))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, _COLUMNS)
        sheet.paste(draw_tile(tile), (column * PIXELS, row * PIXELS))
    write_png(picture, sheet)
    size = f'tilewidth="{PIXELS}" tileheight="{PIXELS}" tilecount="{len(tiles)}" columns="{_COLUMNS}"'
    told = [
        f' <tile id="{number}"><properties>'
        f'<property name="meanings" value="{",".join(sorted(tile.meanings))}"/></properties></tile>'
        for number, tile in enumerate(tiles)
    ]
    head = f'<tileset version="1.10" tiledversion="1.10.2" name="meadow" {size}>'
    image = f' <image source="{picture.name}" width="{sheet.width}" height="{sheet.height}"/>'
    write_text(path, _lines(_XML, head, image, *told, "</tileset>"))


def _map_text(level: Level, tiles: Sequence[Tile]) -> str:
    """Return a map with one layer; where there is only air, its cells are bare, as a designer leaves them."""
    from newgameplus.demo_tileset import PIXELS, SKY

    gids = {tile.name: gid for gid, tile in enumerate(tiles, start=1)}
    table = [gids.get(name, 0) for name in level.tileset.names]
    rows = [",".join(str(table[tile]) for tile in row) for row in level.tiles.tolist()]
    size = f'width="{level.width}" height="{level.height}"'
    settings = 'version="1.10" tiledversion="1.10.2" orientation="orthogonal" renderorder="right-down"'
    tail = f'tilewidth="{PIXELS}" tileheight="{PIXELS}" infinite="0" backgroundcolor="{SKY}"'
    return _lines(
        _XML,
        f'<map {settings} {size} {tail} nextlayerid="2" nextobjectid="1">',
        ' <properties><property name="designer" value="the demo"/></properties>',
        ' <tileset firstgid="1" source="meadow.tsx"/>',
        f' <layer id="1" name="level" {size}>',
        '  <data encoding="csv">',
        ",\n".join(rows),
        "</data>",
        " </layer>",
        "</map>",
    )


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def deliver_levels(run: Run, wanted: Mapping[str, str] = WANTED) -> dict[str, Any] | None:
    """Deliver new levels of a finished run into its ``levels`` folder, or return those delivered before.

    Returns:
        What ``levels.json`` holds; None if no level could be delivered, which is said.
    """
    delivered = sorted((run.folder / "levels").glob("*/levels.json"))
    if not delivered:
        from newgameplus.deploy.generation import generate

        asked = " and ".join(f"{name}={value}" for name, value in wanted.items())
        progress.say(f"making {LEVELS} new levels with {asked}")
        folder = _free(run.folder / "levels")
        try:
            generate(run.folder, LEVELS, out=folder, requests=wanted, seed=7)
        except DataError as error:
            progress.say(str(error))
            return None
        delivered = [folder / "levels.json"]
    content: dict[str, Any] = read_json(delivered[0])
    return content


def _free(folder: Path) -> Path:
    numbered = (folder / f"{number:03d}" for number in range(1, 1000))
    return next(place for place in numbered if not place.exists())


def yaml_path(path: Path) -> str:
    """Return a path as a recipe may hold it: absolute, and quoted."""
    return "'" + str(path.resolve()).replace("'", "''") + "'"
