"""Side scrollers: a level is built of sections around a few ideas, each introduced gently, made harder, and left for a
rest; then the ideas meet."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus.games.generators.canvas import Grid, Style, between, chance, pick, rate, shares, subrange
from newgameplus.games.generators.platformer_course import Course
from newgameplus.games.generators.platformer_dressing import dress
from newgameplus.games.generators.platformer_sections import SECTIONS, rest

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "platformer"
RULES = "platformer"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (12, 18), "width": (40, 220)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ".": ("empty",),
        "#": ("solid",),  # ground
        "x": ("solid",),  # hewn stone
        "=": ("solid",),  # plank
        "u": ("solid",),  # tree top
        "%": ("solid", "breakable"),
        "!": ("solid", "collectable"),  # a block that gives something
        "-": ("one-way",),
        "{": ("solid", "pipe"),
        "}": ("solid", "pipe"),
        "[": ("solid", "pipe"),
        "]": ("solid", "pipe"),
        "T": ("solid", "spawner"),  # cannon
        "t": ("solid",),  # its foot
        "o": ("collectable",),
        "w": ("enemy",),  # walks
        "k": ("enemy",),  # walks, with a shell
        "f": ("enemy",),  # flies
        "^": ("hazard",),
        "~": ("liquid", "hazard"),
        "I": ("decoration",),  # trunk
        '"': ("decoration",),  # bush
        "(": ("decoration",),  # cloud
        ")": ("decoration",),
        "|": ("decoration",),  # pole of the flag
        "P": ("decoration",),  # pennant
        "S": ("start",),
        "G": ("goal",),
    }
)
_THEMES = ("meadow", "cavern", "treetops", "fortress", "bridges")
_LIKELY = {
    "meadow": ("hills", "blocks", "pipes", "patrol", "stairs", "gaps", "treasure", "cannons", "high pipe", "shelves"),
    "cavern": ("passage", "blocks", "pipes", "walls", "gaps", "patrol", "stairs", "spikes", "treasure"),
    "treetops": ("islands", "gaps", "hills", "shelves", "treasure", "bridge", "patrol"),
    "fortress": ("passage", "walls", "spikes", "gaps", "cannons", "stairs", "islands", "bridge"),
    "bridges": ("bridge", "islands", "gaps", "patrol", "hills", "blocks", "shelves"),
}


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: one theme's ideas or any, how dense, how hard, which tiles."""
    theme = pick(rng, _THEMES, (3, 2, 1.5, 1.5, 1))
    names = _LIKELY[theme] if chance(rng, 0.75) else tuple(SECTIONS)
    height = between(rng, *SIZES["height"])
    one_ways = chance(rng, 0.4)
    return {
        "height": [height, height],
        "width": subrange(rng, *pick(rng, ((40, 90), (80, 160), (120, 220), (40, 220))), 15),
        "theme": theme,
        "ideas": shares(rng, names, 3, 9),
        "acts": between(rng, 2, 4),
        "hard": rate(rng, 0.2, 1.0),
        "rest": rate(rng, 0.15, 0.8),
        "uneven": pick(rng, (0.0, rate(rng, 0.1, 0.6))),
        "ground": between(rng, 1, 4) + between(rng, 0, max(0, (height - 13) // 2)),
        "gap": between(rng, 2, 5),
        "enemies": pick(rng, (0.0, rate(rng, 0.1, 0.4), rate(rng, 0.3, 0.8), rate(rng, 0.6, 1.0)), (1, 3, 4, 2)),
        "walkers": pick(rng, ("w", "w", "wk", "k")),
        "flyers": chance(rng, 0.4),
        "coins": pick(rng, (0.0, rate(rng, 0.1, 0.4), rate(rng, 0.3, 0.9)), (1, 3, 3)),
        "block_row": pick(rng, ("rewards", "middle", "every other", "holes", "mixed")),
        "stairs": pick(rng, ("x", "x", "#")),
        "islands": pick(rng, ("tree", "tree", "stone", "plain")) if not one_ways else "one-way",
        "one_ways": one_ways,
        "pipe_plants": pick(rng, (0.0, rate(rng, 0.2, 0.6))),
        "sunk_spikes": chance(rng, 0.6),
        "liquid_rows": pick(rng, (0, between(rng, 1, 2)), (3, 2 if theme != "fortress" else 9)),
        "ceiling": between(rng, 1, 3) if theme in ("cavern", "fortress") else 0,
        "rough": chance(rng, 0.7),
        "dress": pick(rng, (0.0, rate(rng, 0.2, 0.6), rate(rng, 0.5, 0.95)), (1, 2, 3)),
        "dressing": shares(rng, ("blocks", "coins", "arc", "shelf", "stones", "pipe"), 2, 4),
        "bushes": pick(rng, (0.0, rate(rng, 0.02, 0.1)), (3, 2)),
        "clouds": pick(rng, (0.0, rate(rng, 0.02, 0.05)), (3, 2)) if theme not in ("cavern", "fortress") else 0.0,
        "ends": pick(rng, ("open", "goal", "flag")),
        "ending": between(rng, 5, 9),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one side scroller; one that is too narrow for a start and an end does not occur in ``SIZES``."""
    course = Course.start(rng, height, width, style)
    if style["ceiling"]:
        _ceiling(course)
    course.run(between(rng, 4, 7))
    _acts(course)
    course.run(course.left)
    _ending(course)
    _marks(course)
    dress(course)
    return course.grid


def _acts(course: Course) -> None:
    """Build the sections: each act introduces an idea and makes it harder; the last act mixes all."""
    rng, style = course.rng, course.style
    names, weights = list(style["ideas"]), list(style["ideas"].values())
    count = min(int(style["acts"]), len(names))
    order = [names[number] for number in rng.choice(len(names), count, False, np.array(weights) / sum(weights))]
    first, last = course.x, course.end
    while course.left > 4:
        share = (course.x - first) / max(1, last - first) * count
        act, within = min(int(share), count - 1), share % 1.0
        idea = order[act]
        if act and (chance(rng, 0.25) or (act == count - 1 and chance(rng, 0.5))):
            idea = pick(rng, order[: act + 1])
        hard = float(style["hard"]) * (0.25 + 0.5 * within + 0.25 * act / count)
        before = course.x
        SECTIONS[idea](course, hard)
        if chance(rng, float(style["uneven"])):
            course.step(pick(rng, (-2, -1, 1, 2)))
        if course.x == before or chance(rng, float(style["rest"]) * (0.5 + hard)):
            rest(course, hard)


def _ceiling(course: Course) -> None:
    """Hang a ceiling over all but the first and last columns, in long even pieces."""
    thick = min(int(course.style["ceiling"]), max(1, course.base - 8))
    what = "%" if course.style["theme"] == "cavern" else "#"
    course.grid[:thick, : course.grid.shape[1]] = what
    course.roof = thick - 1


def _ending(course: Course) -> None:
    """Lay the last columns and what stands there."""
    top, width = course.top, course.grid.shape[1]
    course.grid[top:, course.end :] = "#"
    if course.style["ends"] == "flag":
        column = width - min(3, int(course.style["ending"]) - 1)
        tall = min(6, top - course.roof - 2)
        course.grid[top - 1, column] = "G"
        course.grid[top - tall : top - 1, column] = "|"
        course.grid[top - tall, column - 1] = "P"
    elif course.style["ends"] == "goal":
        course.grid[top - 1, width - 2] = "G"


def _marks(course: Course) -> None:
    """Put the start on the first ground, if this designer marks it."""
    if course.style["ends"] != "open":
        course.on_ground(1, "S")
