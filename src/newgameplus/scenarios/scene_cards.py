"""What a person looks at: pictures of levels with the solver's path, and the cards of a run's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newgameplus.evaluate.scene_arms import SceneArm
from newgameplus.evaluate.scene_metrics import NearestLevels
from newgameplus.evaluate.scene_report import SampleCard, write_scene_report
from newgameplus.games.measures import measure
from newgameplus.games.pictures import draw_level, png_bytes
from newgameplus.games.pictures_maker import picture_artist
from newgameplus.games.pictures_tiles import Artist, plain_artist
from newgameplus.games.rules.contract import Answer
from newgameplus.games.scenes import Level, Tile
from newgameplus.recipe import dump_recipe
from newgameplus.scenarios.scene_data import SceneGame

if TYPE_CHECKING:
    from PIL import Image

    from newgameplus.scenarios.scene_evaluation import SceneResults

__all__ = ["game_artist", "level_picture", "write_run_report"]

_SHOWN = 10
_WORST = 6
_FINE_TUNED = "fine-tuned"


def game_artist(game: SceneGame) -> Artist:
    """Return the artist of a game: the maker's own tile pictures where they are to be had, else plain tiles."""
    tiles = {
        tile.name: tile for document in game.documents for scene in document.scenes for tile in scene.tileset.tiles
    }
    sizes = [
        tile.picture[3:] for tile in tiles.values() if tile.picture is not None and Path(tile.picture[0]).is_file()
    ]
    tileset = game.stack.tileset
    if not sizes:
        return plain_artist(tileset, game.rules.name)

    def parts(number: int) -> Sequence[Tile]:
        if not 0 <= number < len(game.stack.cells):
            return ()
        return [tiles[name] for name in game.stack.cells[number] if name is not None and name in tiles]

    width, height = Counter(sizes).most_common(1)[0][0]
    return picture_artist(tileset, (width, height), layers=parts, rules=game.rules.name)


def level_picture(level: Level, answer: Answer | None, artist: Artist, cell: int = 16) -> Image.Image:
    """Draw a level with the solver's path, or with where it got stuck."""
    if answer is None:
        return draw_level(level, artist=artist, cell=cell)
    if answer.proof is not None:
        return draw_level(level, path=answer.proof.cells, moves=answer.proof.moves, artist=artist, cell=cell)
    reached = answer.reached if answer.status == "unplayable" else None
    return draw_level(level, mark=answer.at, reached=reached, artist=artist, cell=cell)


def write_run_report(results: SceneResults, evaluation: dict[str, Any], arms: Sequence[SceneArm]) -> None:
    """Write ``report.html`` of a scene run."""
    run, game = results.run, results.game
    artist = game_artist(game)
    samples = [*_delivered_cards(results, artist), *_raw_cards(game, arms, artist), *_map_cards(game, artist)]
    write_scene_report(
        run.folder / "report.html",
        evaluation,
        title=run.name,
        recipe_yaml=dump_recipe(run.recipe),
        environment=run.environment,
        history=run.metrics(),
        samples=samples,
        tiles=results.origins,
        left_out=game.left_out,
    )


def _card(
    level: Level, answer: Answer, artist: Artist, kind: str, nearest: tuple[str, int] = ("", -1), requests: Any = ()
) -> SampleCard:
    achieved = measure(level, [request.measure for request in requests], answer)
    return SampleCard(
        name=level.name,
        png=png_bytes(level_picture(level, answer, artist, 12)),
        caption=level.caption or answer.reason,
        status=answer.status,
        requested={request.measure: (request.low, request.high) for request in requests},
        achieved={name: value for name, value in achieved.items() if value == value},
        nearest=nearest[0],
        distance=nearest[1],
        kind=kind,  # type: ignore[arg-type]
    )


def _delivered_cards(results: SceneResults, artist: Artist) -> list[SampleCard]:
    return [
        _card(made.level, made.answer, artist, "delivered", made.nearest, made.requests)
        for made in results.delivered[:_SHOWN]
    ]


def _raw_cards(game: SceneGame, arms: Sequence[SceneArm], artist: Artist) -> list[SampleCard]:
    """Show the failures of the fine-tuned model first, then those nearest to a copy, then some as they came."""
    arm = next((one for one in arms if one.name == _FINE_TUNED), None)
    if arm is None:
        return []
    index = NearestLevels(game.known)
    pairs = list(zip(arm.levels, arm.answers, strict=True))
    failed = [(level, answer) for level, answer in pairs if not answer.playable][:_WORST]
    cards = [_card(level, answer, artist, "worst") for level, answer in failed]
    good = [(level, answer) for level, answer in pairs if answer.playable]
    near = [(found.distance, found.name, n) for n, (level, _) in enumerate(good) for found in [index.find(level)]]
    for distance, name, number in sorted(near)[:2]:
        level, answer = good[number]
        cards.append(_card(level, answer, artist, "worst", (name, distance)))
    return [*cards, *(_card(level, answer, artist, "raw") for level, answer in pairs[:_WORST])]


def _map_cards(game: SceneGame, artist: Artist) -> list[SampleCard]:
    return [_card(game.levels[n], game.answers[n], artist, "training") for n in game.train[:3]]
