"""Several processes on one scene run: each reads its own copy of the maps, and all compare.

What is learned from is handed over by the main process, since the model's own levels are on no disk but its; maps are
small. The comparison finds a process that was started beside other maps, or that reads these in another way.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from newgameplus.files import digest_bytes
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game
from newgameplus.train.processes import agree, check_same, process_count
from newgameplus.train.sharing import follow, tell

__all__ = ["follow_scene", "share_maps"]

_REMEDY = "give every process the same maps; data.path may differ between machines"
_SHOWN = 8


def share_maps(game: SceneGame) -> None:
    """Let the other processes read their copy of the maps, and compare; nothing in one process.

    Raises:
        TrainingError: Copies differ, or one cannot be read.
    """
    if process_count() > 1:
        tell("load")
        agree(lambda: None)
        check_same(_facts(game), "the maps", _REMEDY)


def follow_scene(recipe: SceneRecipe) -> None:
    """Wait for the main process and join in; see :func:`newgameplus.train.sharing.follow`."""

    def load(_: None) -> None:
        game = agree(lambda: load_scene_game(recipe, solve=False))
        check_same(_facts(game), "the maps", _REMEDY)

    follow(load)


def _facts(game: SceneGame) -> dict[str, str]:
    """Return what all copies must have in common, by names that do not depend on the folder."""
    tiles = game.stack.tileset.tiles
    facts = {f"meaning of the tile {tile.name!r}": ", ".join(sorted(tile.meanings)) or "none" for tile in tiles}
    names = [tile.name for tile in tiles]
    seen: Counter[str] = Counter()
    for group, level in zip(game.groups, game.levels, strict=True):
        name = f"map {Path(group).name}: {level.name}"
        seen[name] += 1
        key = name if seen[name] == 1 else f"{name} ({seen[name]})"
        content = "\n".join(names[number] for number in level.tiles.ravel().tolist())
        parts = (content, repr(level.tiles.shape), level.caption)
        facts[key] = digest_bytes(*(part.encode() for part in parts))[:_SHOWN]
    return facts
