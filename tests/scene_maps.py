"""Maps of a designer on disk, in several formats, and recipes that learn from them in moments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from newgameplus.games.generators import make_levels
from newgameplus.games.scenes import Level
from newgameplus.recipe import SceneRecipe

RULES = {"sokoban": "sokoban", "platformer": "platformer"}
#: Meanings of the tiles of the TMX maps, by name; ``tiles#0`` is the first tile of the tileset ``tiles``.
TMX_MEANINGS = {
    "tiles#0": ["empty"],
    "tiles#1": ["solid"],
    "tiles#2": ["start"],
    "tiles#3": ["goal"],
    "tiles#5": ["collectable"],
}


def write_text_maps(folder: Path, kind: str, count: int, *, height: int, width: int, seed: int = 3) -> list[Level]:
    """Write levels of one of our generators, one character a tile, with their legend."""
    folder.mkdir(parents=True, exist_ok=True)
    levels = make_levels(kind, count, seed, height=height, width=width)
    for number, level in enumerate(levels):
        (folder / f"map{number:02d}.txt").write_text(level.to_text() + "\n")
    meanings = {tile.name: sorted(tile.meanings) for tile in levels[0].tileset.tiles}
    (folder / "legend.json").write_text(json.dumps(meanings))
    return levels


def write_xsb_maps(folder: Path, count: int = 6) -> None:
    """Write Sokoban levels, one a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        first = ("# $  . #", "#  $ . #", "# . $  #")[number % 3]
        rows = [list(row) for row in ("########", "#      #", first, "#  @   #", "#   $ .#", "########")]
        rows[1][1 + number % 6] = "#"
        (folder / f"level{number}.xsb").write_text("\n".join("".join(row) for row in rows) + "\n")


def tmx_text(rows: Sequence[str], *, extra: str = "") -> str:
    """Return a TMX map by hand: a layer of play, a layer of decoration, objects and properties of its maker."""
    tiles = {".": 1, "#": 2, "@": 3, "g": 4, "o": 6}
    height, width = len(rows), len(rows[0])
    play = ",\n".join(",".join(str(tiles[key]) for key in row) for row in rows)
    decoration = ",\n".join(",".join("5" if (r + c) % 5 == 0 else "0" for c in range(width)) for r in range(height))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<map version="1.10" tiledversion="1.10.2" orientation="orthogonal" renderorder="right-down" width="{width}" \
height="{height}" tilewidth="8" tileheight="8" infinite="0" nextlayerid="9" nextobjectid="9">
 <properties>
  <property name="mood" value="gloomy"/>
 </properties>
 <tileset firstgid="1" name="tiles" tilewidth="8" tileheight="8" tilecount="8" columns="4">
  <image source="tiles.png" width="32" height="16"/>
 </tileset>
 <layer id="1" name="play" width="{width}" height="{height}">
  <properties>
   <property name="speed" type="int" value="3"/>
  </properties>
  <data encoding="csv">
{play}
</data>
 </layer>
 <layer id="2" name="sky" width="{width}" height="{height}" opacity="0.5">
  <data encoding="csv">
{decoration}
</data>
 </layer>
{extra} <objectgroup id="3" name="notes">
  <object id="4" name="secret" type="note" x="12" y="20" width="9" height="5">
   <properties>
    <property name="text" value="look here"/>
   </properties>
  </object>
 </objectgroup>
</map>
"""


def write_tmx_maps(folder: Path, count: int = 5) -> list[list[str]]:
    """Write TMX maps with a picture of their tiles; return their rows."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 16), (90, 120, 60)).save(folder / "tiles.png")
    maps = []
    for number in range(count):
        rows = ["############", "#@.........#", "#..##......#", "#......##..#", "#.........g#", "############"]
        rows[2 + number % 2] = f"#{'.' * (2 + number)}#{'.' * (7 - number)}#"
        rows[1] = ("#@..oo.....#", "#@.........#", "#@..o.....g#", "#@...ooo...#")[number % 4]
        rows[4] = f"#{'#' * (number // 2)}{'.' * (8 - number // 2)}{'#' if number == 1 else '.'}g#"
        (folder / f"room{number}.tmx").write_text(tmx_text(rows))
        maps.append(rows)
    return maps


def quick_recipe(path: Path, runs: Path, *, rules: str = "top-down", **parts: Mapping[str, Any]) -> SceneRecipe:
    """Return a recipe that fits in a second or two: few steps, one thread, few samples."""
    content: dict[str, Any] = {
        "data": {"path": str(path), "rules": rules},
        "runs": str(runs),
        "train": {"steps": 4, "batch_size": 2, "threads": 1, "check_every": 2},
        "generate": {"budget_samples": 10, "min_distance": 1, "solver_nodes": 5000},
        "evaluate": {"baselines": [], "samples": 2, "deliver": 1, "requests": 1, "resamples": 100},
    }
    for part, settings in parts.items():
        content[part] = {**content.get(part, {}), **settings} if isinstance(settings, Mapping) else settings
    return SceneRecipe.model_validate(content)
