"""Which maps ViZDoom brings, read from its WAD files: Freedoom's and the bundled scenarios'."""

from __future__ import annotations

import difflib
import importlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newgameplus.errors import MissingExtraError, RecorderError

__all__ = ["DoomMap", "find_map", "known_maps", "vizdoom"]

_PLAYER_START = 1
_DEATHMATCH_START = 11
"""Numbers of these things in every format of map (Unofficial Doom Specs 1.666, section 4-2)."""


@dataclass(frozen=True)
class DoomMap:
    """One map that the engine brings.

    Attributes:
        name: Full name, as a user writes it: ``freedoom2:MAP02``, ``basic``.
        wad: File that holds it.
        map: Name of the map within the file.
        game: File with the game's pictures and things.
        player_starts: Number of places where player 1 may begin outside a deathmatch.
        deathmatch_starts: Number of places where a player may begin in a deathmatch.
    """

    name: str
    wad: Path
    map: str
    game: Path
    player_starts: int
    deathmatch_starts: int


def vizdoom() -> Any:
    """Import the engine.

    Raises:
        MissingExtraError: It is not installed, or its install is broken.
    """
    try:
        return importlib.import_module("vizdoom")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "vizdoom"
        raise MissingExtraError("vizdoom", "doom", "" if missing else str(error)) from error


def _lumps(content: bytes) -> list[tuple[str, bytes]]:
    """Split a WAD file into its named parts, in order."""
    count, start = struct.unpack_from("<ii", content, 4)
    entries = [struct.unpack_from("<ii8s", content, start + 16 * number) for number in range(count)]
    return [(name.rstrip(b"\0").decode("latin-1"), content[at : at + size]) for at, size, name in entries]


def _thing_types(things: bytes, after: list[str]) -> list[int]:
    """Return the type of every thing on a map, in the map format that the neighbouring lumps give away."""
    if "ENDMAP" in after:  # UDMF: text
        return [int(number) for number in re.findall(rb"\btype\s*=\s*(\d+)", things)]
    size, at = (20, 10) if "BEHAVIOR" in after else (10, 6)  # Hexen's format and Doom's own
    return [struct.unpack_from("<h", things, first + at)[0] for first in range(0, len(things) - size + 1, size)]


def _maps_in(wad: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield each map of a WAD file with the types of its things. The lump before THINGS or TEXTMAP names the map."""
    lumps = _lumps(wad.read_bytes())
    for number, (name, content) in enumerate(lumps):
        if number and name in ("THINGS", "TEXTMAP"):
            after = [later for later, _ in lumps[number : number + 12]]
            if name == "THINGS":  # stop at the next map, whose format may be another
                after = after[: after.index("THINGS", 1)] if "THINGS" in after[1:] else after
                after = [later for later in after if later != "ENDMAP"]
            yield lumps[number - 1][0].upper(), _thing_types(content, after)


def known_maps() -> dict[str, DoomMap]:
    """Return every map that can be recorded, by full name.

    Raises:
        MissingExtraError: ViZDoom is not installed.
    """
    home = Path(vizdoom().__file__).parent
    maps = {}
    for wad in sorted([*home.glob("freedoom*.wad"), *(home / "scenarios").glob("*.wad")]):
        is_game = wad.parent == home
        found = list(_maps_in(wad))
        for name, things in found:
            full = f"{wad.stem}:{name}" if is_game or len(found) > 1 else wad.stem
            starts = (things.count(_PLAYER_START), things.count(_DEATHMATCH_START))
            maps[full] = DoomMap(full, wad, name, wad if is_game else home / "freedoom2.wad", *starts)
    return maps


def find_map(name: str) -> DoomMap:
    """Return the map of that name; case does not matter.

    Raises:
        RecorderError: There is no such map; the nearest names are in the message.
        MissingExtraError: ViZDoom is not installed.
    """
    maps = known_maps()
    by_lower = {known.lower(): known for known in maps}
    wanted = name.strip().lower()
    if wanted in by_lower:
        return maps[by_lower[wanted]]
    near = [by_lower[low] for low in difflib.get_close_matches(wanted, by_lower, n=3, cutoff=0.5)]
    examples = "freedoom2:MAP01 to MAP32, freedoom1:E1M1 to E4M9, or a scenario such as basic or deadly_corridor"
    remedy = f"did you mean {' or '.join(near)}?" if near else f"take {examples}"
    raise RecorderError(f"there is no map {name!r}", source="map", remedy=remedy)
