"""Words and characters that makers of maps use for tiles, and what they mean; read from names such as ``door_red``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from newgameplus.games.scenes import MEANINGS

__all__ = ["ALPHABETS", "EITHER", "WORDS", "meanings_of_name", "meanings_of_words", "name_words"]


def _table(text: str) -> Mapping[str, tuple[str, ...]]:
    """Read lines of ``meaning meaning: word word ...``."""
    table: dict[str, tuple[str, ...]] = {}
    for line in text.strip().splitlines():
        meanings, _, words = line.partition(":")
        table.update(dict.fromkeys(words.split(), tuple(meanings.split())))
    return MappingProxyType(table)


#: What a word means wherever it stands in a name.
WORDS = _table(
    """
    solid: solid wall collision collider collide blocked blocking impassable unpassable barrier fence rock boulder cliff
    solid: obstacle brickwork pillar column tree stump bush hedge building house roof mountain
    empty: empty passable walkable sky air nothing background bg blank free clear walk path road trail corridor carpet
    hazard: hazard spike thorn trap damaging damage deadly death kill killer saw sawblade pit hurt laser acid flame
    hazard: fire hole
    enemy: enemy monster foe mob goomba koopa spiny bat skeleton slime zombie goblin orc ghost boss guard bandit
    start: start player hero avatar mario spawn spawnpoint entrance entry begin protagonist
    goal: goal exit finish end flag flagpole target portal win stair staircase princess triforce castle
    key: key keycard
    door: door gate lock locked portcullis
    one-way: oneway jumpthrough passthrough semisolid halfsolid
    climbable: ladder climbable climb vine rope chain
    liquid: water liquid river sea ocean lake pond swamp
    liquid hazard: lava magma
    collectable: collectable collectible coin gem ring pickup reward gold ruby rupee treasure chest star heart potion
    collectable: fruit cherry diamond crystal powerup item loot money food apple
    solid breakable: breakable brick destructible destroyable diggable
    box: box crate pushable barrel
    pipe solid: pipe
    spawner: spawner cannon launcher turret generator dispenser emitter
    decoration: decoration decor deco ornament flower torch lamp sign shadow detail prop poster window
    decoration: cloud light spotlight foliage
    void: void outside null oob
    """
)

#: Words that mean one thing seen from the side and another seen from above: (platformer, top-down).
EITHER: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    dict.fromkeys(
        ("ground", "floor", "dirt", "grass", "sand", "snow", "ice", "land", "earth", "soil", "gravel"),
        (("solid",), ("empty",)),
    )
    | dict.fromkeys(("stone", "block", "tile", "concrete", "metal", "wood"), (("solid",), ("solid",)))
    | {"platform": (("one-way",), ("empty",)), "bridge": (("one-way",), ("empty",)), "cobweb": (("decoration",),) * 2}
)

_COLORS = """
    red green blue yellow orange purple violet pink white black brown gray grey cyan magenta gold silver golden
""".split()  # noqa: SIM905 (a list of single words reads worse)
_QUALITIES = ("solid", "breakable", "destructible", "diggable", "oneway", "climbable", "deadly", "passable")
_COMPOUNDS = (
    (
        r"\b(enemy|monster|mob|bullet|foe|goblin|zombie)s? .*\b(spawn|spawner|spawnpoint|generator|start)s?\b",
        ("spawner",),
    ),
    (r"\b(question|coin|used|item|hit|bonus|mystery) (block|box)s?\b", ("solid",)),
    (r"\bone way\b.*\b(up|down|left|right)\b", ("one-way-{}",)),
    (r"\b(one way|jump through|pass through|semi solid|half solid|drop through|cloud platform)\b", ("one-way",)),
    (r"\b(non|not|no|un) (solid|collision|collide|blocking)\b", ("empty",)),
    (r"\bwarp pipe\b", ("pipe", "solid")),
    (r"\b(pressure|switch) .*\b(plate|block)\b", ()),
)


def _alphabet(text: str) -> Mapping[str, tuple[str, ...]]:
    """Read entries ``characters=meaning,meaning`` between blanks; ``SPACE`` stands for a blank."""
    table = {}
    for entry in text.split():
        keys, _, meanings = entry.rpartition("=")
        for key in [" "] if keys == "SPACE" else keys:
            table[key] = tuple(name for name in meanings.split(",") if name)
    return MappingProxyType(table)


#: Characters as text collections use them, by the kind of game: a character means different things in different ones.
ALPHABETS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "side-scroller (VGLC)": _alphabet(
            "X=solid S=solid,breakable -=empty ?Q=solid E=enemy <>[]=pipe,solid o=collectable B=solid,spawner b=solid"
        ),
        "side-scroller (Mario AI framework)": _alphabet(
            "-=empty M=start F=goal yYEgGkKrR=enemy X#=solid %=one-way |=decoration *Bb=solid,spawner ?@Q!D=solid "
            "1=empty,collectable 2=empty,collectable SCUL=solid,breakable o=collectable tT<>[]=pipe,solid"
        ),
        "dungeon (VGLC)": _alphabet(
            "F=empty B=solid M=enemy P=liquid,solid O=liquid I=liquid,solid D=door S=goal W=solid -=void"
        ),
        "ladders and gold (VGLC)": _alphabet(
            "B=solid b=solid,breakable .=empty -=climbable #=climbable G=collectable E=enemy M=start"
        ),
        "vertical platformer (VGLC)": _alphabet("#=solid T=one-way D=goal H=hazard M=one-way -=empty"),
        "Sokoban": _alphabet("#=solid SPACE=empty -_=empty @=start +=start,goal $=box *=box,goal .=goal"),
        "roguelike": _alphabet(
            "#=solid .=empty SPACE=void @=start <=start >=goal +=door '=empty ^=hazard ~=liquid %=collectable "
            "!=collectable ?=collectable $=collectable *=collectable k=key E=enemy g=enemy o=enemy"
        ),
        "maze": _alphabet("#=solid SPACE=empty .=empty S=start s=start G=goal E=goal e=goal X=solid W=solid w=solid"),
        "top-down": _alphabet(
            "#=solid W=solid .=empty SPACE=empty P=start @=start G=goal X=goal K=key k=key D=door d=door E=enemy "
            "~=liquid ^=hazard o=collectable *=collectable"
        ),
        "numbers": _alphabet("0=empty 1=solid"),
    }
)


def name_words(name: str) -> list[str]:
    """Split ``PlayerStart``, ``door_red`` or ``walls-2`` into lower-case words, plurals made singular."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)", " ", name)
    words = re.findall(r"[a-z]+", spaced.lower())
    return [_singular(word) for word in words]


def _singular(word: str) -> str:
    if word in WORDS or word in EITHER or len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if word.endswith(ending):
            return word[: -len(ending)] + instead
    return word


def meanings_of_name(name: str, *, platformer: bool | None = None) -> tuple[str, ...]:
    """Return what a tile's or object's name says, or nothing.

    In a compound the last word says what it is: a ``key door`` is a door, a ``door key`` a key. Colors name the kind
    of keys and doors. Words such as ``ground``, solid from the side and walkable from above, count only if the kind
    of game is told.

    Args:
        name: Such as ``Walls``, ``door_red``, ``OneWayPlatform``.
        platformer: Whether the game is seen from the side; None if that is not known.
    """
    words = name_words(name)
    phrase = " ".join(words)
    for pattern, meanings in _COMPOUNDS:
        if found := re.search(pattern, phrase):
            return tuple(meaning.format(*found.groups()) for meaning in meanings)
    result: list[str] = []
    for word in words:
        meant = WORDS.get(word, ())
        if not meant and platformer is not None and word in EITHER:
            meant = EITHER[word][0 if platformer else 1]
        if meant:
            result = [*(kept for kept in result if kept in _kept(words)), *meant]
    if "goal" in result and {"start", "entrance"} & set(words):
        result = ["start"]
    color = next((word for word in words if word in _COLORS), "")
    named = [f"{meaning}:{color}" if color and meaning in ("key", "door") else meaning for meaning in result]
    return tuple(dict.fromkeys(named))


def _kept(words: list[str]) -> set[str]:
    """Return meanings that stay when another word follows: qualities, as in "solid water"."""
    return {meaning for word in words if word in _QUALITIES for meaning in WORDS[word]}


def meanings_of_words(words: Iterable[str]) -> tuple[str, ...]:
    """Return what the words of a legend say together, those without a meaning left out.

    Harm that comes from an enemy is said by ``enemy`` alone, and a cannon is a ``spawner``: what it shoots is the
    hazard, one can stand on it.
    """
    found: list[str] = []
    for word in words:
        if word.partition(":")[0] in MEANINGS:
            found.append(word)
        else:
            found += meanings_of_name(word)
            found += [] if found or word.lower() not in EITHER else EITHER[word.lower()][0]
    meanings = list(dict.fromkeys(found))
    if {"enemy", "spawner"} & set(meanings) and "hazard" in meanings:
        meanings.remove("hazard")
    if "solid" in meanings and "empty" in meanings:
        meanings.remove("empty")
    if len(meanings) > 1 and "empty" in meanings:
        meanings.remove("empty")
    return tuple(meanings)
