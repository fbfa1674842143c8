"""Pictures of levels: what is drawn can be seen, and any level, however odd, has a picture."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from newgameplus.errors import DataError, StorageError
from newgameplus.games.pictures import (
    contact_sheet,
    draw_level,
    fold,
    picture_artist,
    plain_artist,
    png_bytes,
    write_growth,
    write_png,
)
from newgameplus.games.pictures_overlays import follow_moves
from newgameplus.games.pictures_tiles import seen_from_above
from newgameplus.games.scenes import MEANINGS, Level, Tile, Tileset

SIDE = {
    "-": ["empty"],
    "X": ["solid"],
    "?": ["solid", "collectable"],
    "E": ["enemy"],
    "[": ["pipe", "solid"],
    "F": ["goal"],
}
ABOVE = {" ": ["empty"], "#": ["solid"], "$": ["box"], ".": ["goal"], "@": ["start"], "*": ["box", "goal"]}
LEVEL = Level.from_text("--------\n--?-----\n------F-\n-E-[[---\nXXXXX-XX", SIDE, "small")
ROOM = Level.from_text("######\n#@   #\n# $. #\n# *  #\n######", ABOVE, "room")


def changed(one: Image.Image, other: Image.Image, cell: int) -> np.ndarray:
    """Return bool [height, width]: tiles in which any pixel differs."""
    pixels = (np.asarray(one) != np.asarray(other)).any(axis=2)
    rows, columns = pixels.shape[0] // cell, pixels.shape[1] // cell
    return pixels.reshape(rows, cell, columns, cell).any(axis=(1, 3))


@pytest.mark.parametrize("cell", [1, 4, 8, 16, 33, 80])
def test_a_picture_has_a_cell_for_every_tile(cell: int) -> None:
    picture = draw_level(LEVEL, cell=cell, path=[(3, 0), (3, 2)], mark=(4, 5))
    assert picture.size == (8 * cell, 5 * cell)
    assert picture.mode == "RGB"
    assert picture.info["cell"] == cell


def test_tiles_of_other_meanings_look_different_even_at_8_pixels() -> None:
    names = [meaning for meaning in MEANINGS if meaning != "empty"]
    names += ["key:red", "door:red", "key:blue", "door:blue"]
    tiles = [Tile("air", frozenset({"empty"}))] + [Tile(name, frozenset({name})) for name in names]
    for rules in ("platformer", "sokoban"):
        artist = plain_artist(Tileset(tuple(tiles)), rules)
        assert len({artist.stamp(number, 8).tobytes() for number in range(len(tiles))}) == len(tiles)


def test_tiles_that_mean_the_same_can_be_told_apart() -> None:
    for meaning in ("solid", "enemy", "pipe", "empty", "liquid", "key:red"):
        tiles = Tileset(tuple(Tile(name, frozenset({meaning})) for name in "ABC"))
        artist = plain_artist(tiles)
        assert len({artist.stamp(number, 16).tobytes() for number in range(3)}) == 3


def test_a_box_on_its_goal_is_not_just_a_box() -> None:
    artist = plain_artist(ROOM.tileset)
    assert artist.stamp(ROOM.tileset.index["*"], 16).tobytes() != artist.stamp(ROOM.tileset.index["$"], 16).tobytes()


def test_the_background_follows_the_rules_or_the_tiles() -> None:
    assert not seen_from_above(LEVEL.tileset)
    assert seen_from_above(ROOM.tileset)
    assert seen_from_above(LEVEL.tileset, "top-down")
    assert not seen_from_above(ROOM.tileset, "platformer")


def test_a_path_goes_through_its_cells_and_nowhere_far_from_them() -> None:
    path = [(3, 0), (2, 1), (1, 1), (0, 2), (0, 3), (1, 4), (2, 5), (3, 5)]
    drawn = changed(draw_level(LEVEL, path=path), draw_level(LEVEL), 16)
    for row, column in path:
        assert drawn[row, column]
    assert not drawn[4, 7]
    assert not drawn[:, 7].any()


def test_a_path_is_early_yellow_and_late_magenta() -> None:
    flat = Level(np.zeros((1, 40), np.int32), LEVEL.tileset)
    pixels = np.asarray(draw_level(flat, path=[(0, column) for column in range(40)])).astype(int)
    early, late = pixels[8, 3 * 16], pixels[8, 37 * 16 - 3]
    assert early[1] > 180
    assert early[2] < 120
    assert late[1] < 100
    assert late[2] > 100


def test_moves_are_followed_from_the_start() -> None:
    assert follow_moves((1, 1), "rRd?L") == [(1, 1), (1, 2), (1, 3), (2, 3), (2, 3), (2, 2)]
    drawn = changed(draw_level(ROOM, moves="rrrdd"), draw_level(ROOM), 16)
    assert drawn[1, 1:5].all()
    assert drawn[3, 4]


def test_there_and_back_lie_side_by_side() -> None:
    there = [(1, 1), (1, 2), (1, 3), (1, 4)]
    once, back = draw_level(ROOM, path=there, cell=32), draw_level(ROOM, path=there + there[::-1], cell=32)
    column = np.asarray(back)[32:64, 80].astype(int)
    colored = (column[:, 0] - column[:, 2] > 60).astype(int)
    assert np.count_nonzero(np.diff(colored) == 1) == 2
    assert once.tobytes() != back.tobytes()


def test_a_passage_is_dotted() -> None:
    wide = Level(np.zeros((1, 30), np.int32), LEVEL.tileset)
    walked = [(0, 0), (0, 1), (0, 28), (0, 29)]
    jumped = changed(draw_level(wide, path=walked), draw_level(wide), 16)
    assert jumped.all()
    dots = (np.asarray(draw_level(wide, path=walked))[8] != np.asarray(draw_level(wide))[8]).any(axis=1)
    assert 0 < dots[100:400].mean() < 0.9


@pytest.mark.parametrize("path", [[(3, 0)], [(3, 0)] * 5, [(-4, -9), (99, 99)], [(0, 0), (0, 0), (0, 1)]])
def test_odd_paths_do_no_harm(path: list[tuple[int, int]]) -> None:
    assert draw_level(LEVEL, path=path).size == (128, 80)


def test_the_mark_the_region_and_the_unreached_show() -> None:
    plain = draw_level(LEVEL)
    assert changed(draw_level(LEVEL, mark=(2, 2)), plain, 16)[2, 2]
    region = changed(draw_level(LEVEL, region=(3, 1, 4, 3)), plain, 16)
    assert region[1:4, 3:7].sum() == 10
    assert region.sum() == 10
    reached = np.zeros((5, 8), np.bool_)
    reached[:4, :4] = True
    dimmed = changed(draw_level(LEVEL, reached=reached), plain, 16)
    assert not dimmed[:4, :4].any()
    assert dimmed[0, 5:].all()
    assert not dimmed[4, 0], "ground beside what is reached stays bright"
    assert np.asarray(draw_level(LEVEL, reached=reached)).sum() < np.asarray(plain).sum()


@pytest.mark.parametrize("region", [(-3, -3, 100, 100), (50, 50, 2, 2), (0, 0, 0, 0), (7, 4, 9, 9)])
def test_a_region_beyond_the_level_is_cut_off(region: tuple[int, int, int, int]) -> None:
    assert draw_level(LEVEL, region=region, mark=(99, -4)).size == (128, 80)


def test_title_and_legend_explain_the_picture() -> None:
    picture = draw_level(LEVEL, title="A level with <odd> \x00 letters: Ж, λ, 地", legend=True)
    assert picture.width >= 280
    assert picture.height > 80 + 40
    assert "cell" not in picture.info
    many = Tileset(tuple(Tile(f"tile number {number} with a long name") for number in range(200)))
    assert draw_level(Level(np.arange(200, dtype=np.int32).reshape(10, 20), many), legend=True).height > 160


@pytest.mark.parametrize("shape", [(1, 1), (3, 5_000), (5_000, 3), (1, 2)])
def test_levels_of_any_size_can_be_drawn(shape: tuple[int, int]) -> None:
    level = Level(np.zeros(shape, np.int32), LEVEL.tileset)
    path = [(0, 0), (shape[0] - 1, shape[1] - 1)]
    assert draw_level(level, cell=4, path=path, mark=(0, 0)).size == (4 * shape[1], 4 * shape[0])


def test_huge_levels_get_smaller_tiles_and_too_huge_ones_an_error() -> None:
    big = Level(np.zeros((1_500, 1_500), np.int32), LEVEL.tileset)
    assert draw_level(big).size == (4_500, 4_500)
    too_big = Level(np.broadcast_to(np.int32(0), (10_000, 10_000)), LEVEL.tileset)
    with pytest.raises(DataError, match="100,000,000 tiles"):
        draw_level(too_big)
    with pytest.raises(DataError, match="0 x 4"):
        draw_level(Level(np.zeros((0, 4), np.int32), LEVEL.tileset))
    with pytest.raises(DataError, match="0 pixels"):
        draw_level(LEVEL, cell=0)
    with pytest.raises(DataError, match="reached"):
        draw_level(LEVEL, reached=np.zeros((2, 2), np.bool_))


def test_an_artist_of_another_tileset_draws_by_name() -> None:
    turned = Tileset(tuple(reversed(LEVEL.tileset.tiles)))
    again = Level((len(turned) - 1 - LEVEL.tiles).astype(np.int32), turned)
    artist = plain_artist(LEVEL.tileset)
    assert draw_level(again, artist=artist).tobytes() == draw_level(LEVEL, artist=artist).tobytes()
    assert draw_level(ROOM, artist=artist).size == (96, 80)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_tiles_can_be_drawn(data: st.DataObject) -> None:
    meanings = st.frozensets(st.sampled_from([*MEANINGS, "key:red", "door:", "key:a:b"]), max_size=4)
    names = data.draw(st.lists(st.text(max_size=8), min_size=1, max_size=6, unique=True))
    tileset = Tileset(tuple(Tile(name, data.draw(meanings)) for name in names))
    height, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    grid = data.draw(st.lists(st.integers(-1, len(names)), min_size=height * width, max_size=height * width))
    level = Level(np.array(grid, np.int32).reshape(height, width), tileset)
    cell = data.draw(st.integers(1, 24))
    cells = data.draw(st.lists(st.tuples(st.integers(-2, 6), st.integers(-2, 6)), max_size=8))
    picture = draw_level(level, cell=cell, path=cells, legend=data.draw(st.booleans()))
    assert picture.width >= width * cell
    assert (
        picture.tobytes() == draw_level(level, cell=cell, path=cells, legend=picture.info.get("cell") is None).tobytes()
    )


def test_png_files_are_the_same_for_the_same_level(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, draw_level(LEVEL, path=[(3, 0), (3, 2)], legend=True))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    with Image.open(io.BytesIO(png_bytes(draw_level(LEVEL)))) as read:
        assert read.convert("RGB").tobytes() == draw_level(LEVEL).tobytes()
        assert read.info["cell"] == "16"


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_png(tmp_path / "file" / "a.png", draw_level(LEVEL))


def test_wide_levels_are_cut_into_strips_rather_than_made_illegible() -> None:
    wide = draw_level(Level(np.zeros((10, 400), np.int32), LEVEL.tileset))
    folded = fold(wide, 800)
    assert folded.width <= 800
    assert folded.height >= 2 * 10 * 4
    assert fold(wide, 2_000).size == (2_000, 50)
    assert fold(wide, 9_000) is wide
    unknown = Image.new("RGB", (6_400, 160))
    assert fold(unknown, 800).size == (800, 20)
    single = draw_level(Level(np.zeros((2, 3_000), np.int32), LEVEL.tileset), cell=1)
    assert fold(single, 100).width <= 100


def test_no_column_is_lost_when_a_level_is_folded() -> None:
    marks = np.zeros((2, 97), np.int32)
    marks[:, ::7] = 1
    picture = draw_level(Level(marks, LEVEL.tileset), cell=4)
    strips = np.asarray(fold(picture, 4 * 30))
    assert strips.shape == (4 * 8 + 3 * 6, 25 * 4, 3)
    parts = [strips[top : top + 8] for top in range(0, 4 * 14, 14)]
    assert np.hstack(parts)[:, : 97 * 4].tobytes() == np.asarray(picture).tobytes()


def test_a_contact_sheet_holds_every_picture_and_wraps_captions() -> None:
    small = [(draw_level(ROOM), "a caption that goes on and on " * 4) for _ in range(7)]
    sheet = contact_sheet(small, width=800)
    assert sheet.width == 800
    wide = [(draw_level(Level(np.zeros((14, 300), np.int32), LEVEL.tileset)), "w" * 500)]
    assert contact_sheet([*small, *wide], width=800).height > sheet.height
    assert contact_sheet([(draw_level(LEVEL), "")]).width == 1_200
    tall = [(Image.new("RGB", (100, 30_000)), str(number)) for number in range(4)]
    assert contact_sheet(tall, width=240).height < 61_000
    with pytest.raises(DataError, match="no picture"):
        contact_sheet([])
    with pytest.raises(DataError, match="narrow"):
        contact_sheet(small, width=50)


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        frames = []
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")).astype(int))
    return frames


def test_growth_shows_one_column_more_each_frame(tmp_path: Path) -> None:
    write_growth(tmp_path / "a.gif", LEVEL, cell=8)
    frames = frames_of(tmp_path / "a.gif")
    assert len(frames) == 8
    assert np.abs(frames[-1] - np.asarray(draw_level(LEVEL, cell=8)).astype(int)).mean() < 4
    for number, frame in enumerate(frames[:-1]):
        assert (frame[:, (number + 1) * 8 :].max() < 60).all(), "what is not there yet is dark"
    write_growth(tmp_path / "b.gif", LEVEL, cell=8)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_growth_by_an_order_and_by_states_with_repairs(tmp_path: Path) -> None:
    order = np.arange(40).reshape(5, 8)
    write_growth(tmp_path / "order.gif", LEVEL, order=order)
    assert len(frames_of(tmp_path / "order.gif")) == 40
    broken = LEVEL.tiles.copy()
    broken[3, 4] = LEVEL.tileset.index["-"]
    states = [LEVEL.with_tiles(broken).columns(0, 4), LEVEL.with_tiles(broken), LEVEL]
    write_growth(tmp_path / "states.gif", states)
    frames = frames_of(tmp_path / "states.gif")
    assert len(frames) == 3
    yellow = (frames[-1][..., 0] > 240) & (frames[-1][..., 1] > 220) & (frames[-1][..., 2] < 110)
    assert yellow.any(), "the repair is outlined"
    with pytest.raises(DataError, match="order"):
        write_growth(tmp_path / "bad.gif", LEVEL, order=order[:, :3])
    with pytest.raises(DataError, match="no level"):
        write_growth(tmp_path / "bad.gif", [])


@pytest.mark.parametrize("shape", [(1, 1), (3, 5_000), (60, 300)])
def test_growth_of_any_size_stays_small(tmp_path: Path, shape: tuple[int, int]) -> None:
    tiles = np.random.default_rng(0).integers(0, 6, shape).astype(np.int32)
    write_growth(tmp_path / "a.gif", Level(tiles, LEVEL.tileset))
    assert (tmp_path / "a.gif").stat().st_size <= 2_000_000


# The maker's own pictures


def sheet(path: Path) -> Path:
    """Write a tileset picture of four 8 x 8 tiles: red, blue, one with a white corner, one see-through."""
    pixels = np.zeros((8, 32, 4), np.uint8)
    pixels[:, :8] = (200, 0, 0, 255)
    pixels[:, 8:16] = (0, 0, 200, 255)
    pixels[:, 16:24] = (90, 90, 90, 255)
    pixels[:4, 16:20] = 255
    pixels[2:6, 26:30] = (0, 200, 0, 255)
    Image.fromarray(pixels).save(path)
    return path


def pictured(path: str, *names: str) -> Tileset:
    places = {"red": 0, "blue": 8, "corner": 16, "leaf": 24, "outside": 30}
    return Tileset(tuple(Tile(name, frozenset(), (path, places[name.partition("~")[0]], 0, 8, 8)) for name in names))


def test_tiles_are_cut_from_the_makers_picture(tmp_path: Path) -> None:
    sheet(tmp_path / "tiles.png")
    tileset = pictured("tiles.png", "red", "blue")
    artist = picture_artist(tileset, 8, folder=tmp_path)
    pixels = np.asarray(draw_level(Level(np.array([[0, 1, 0]], np.int32), tileset), artist=artist))
    assert pixels[8, 8].tolist() == [200, 0, 0]
    assert pixels[8, 24].tolist() == [0, 0, 200]
    assert artist.notes == []


@pytest.mark.parametrize(
    ("name", "corner"),
    [("corner", (0, 0)), ("corner~h", (0, 15)), ("corner~v", (15, 0)), ("corner~h~v", (15, 15)),
     ("corner~hv", (15, 15)), ("corner~d", (0, 0)), ("corner~h~d", (0, 15))],
)  # fmt: skip
def test_tiles_are_flipped_as_their_name_says(tmp_path: Path, name: str, corner: tuple[int, int]) -> None:
    sheet(tmp_path / "tiles.png")
    stamp = picture_artist(pictured("tiles.png", name), 8, folder=tmp_path).stamp(0, 16)
    white = [(row, column) for row in (0, 15) for column in (0, 15) if stamp[row, column].min() == 255]
    assert white == [corner]


def test_a_stack_is_drawn_layer_over_layer(tmp_path: Path) -> None:
    path = str(sheet(tmp_path / "tiles.png"))
    parts = pictured(path, "red", "leaf").tiles
    player = Tile("player", frozenset({"start"}))
    tileset = Tileset((Tile("a"), Tile("b"), Tile("c", frozenset({"solid"}))))
    stacks = [parts, (parts[0], player), ()]
    artist = picture_artist(tileset, (8, 8), layers=lambda number: stacks[number])
    assert artist.stamp(0, 16)[8, 7].tolist() == [0, 200, 0]
    assert artist.stamp(0, 16)[0, 0].tolist() == [200, 0, 0]
    assert artist.stamp(1, 16)[0, 0].tolist() == [200, 0, 0]
    assert (artist.stamp(1, 16) != [200, 0, 0]).any(), "the player has no picture: its figure stands on the floor"
    assert artist.stamp(2, 16).tobytes() == plain_artist(tileset).stamp(2, 16).tobytes()


def bomb(path: Path) -> None:
    """Write a PNG that says it is 60,000 pixels a side."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("harm", ["missing", "empty", "text", "truncated", "bomb", "folder", "outside"])
def test_a_picture_that_cannot_be_used_is_noted_and_tiles_are_plain(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "tiles.png"
    tileset = pictured("tiles.png", "outside" if harm == "outside" else "red")
    if harm == "empty":
        path.write_bytes(b"")
    elif harm == "text":
        path.write_text("no picture")
    elif harm == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:3_000])
    elif harm == "bomb":
        bomb(path)
    elif harm == "folder":
        path.mkdir()
    elif harm == "outside":
        sheet(path)
    artist = picture_artist(tileset, 8, folder=tmp_path)
    level = Level(np.zeros((2, 2), np.int32), tileset)
    picture = draw_level(level, artist=artist)
    assert picture.tobytes() == draw_level(level).tobytes()
    assert len(artist.notes) == 1
    assert "tiles.png" in artist.notes[0]
    if harm == "bomb":
        assert "60,000 x 60,000" in artist.notes[0]


def test_tall_tiles_stand_on_their_cell(tmp_path: Path) -> None:
    pixels = np.zeros((16, 8, 4), np.uint8)
    pixels[:8] = (10, 20, 30, 255)
    pixels[8:] = (200, 100, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "tree.png")
    tileset = Tileset((Tile("tree", frozenset(), ("tree.png", 0, 0, 8, 16)),))
    stamp = picture_artist(tileset, 8, folder=tmp_path).stamp(0, 8)
    assert (stamp == [200, 100, 0]).all()
