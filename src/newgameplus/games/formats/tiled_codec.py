"""Tiled's layer data: global tile numbers with flip flags, and the ways of writing a layer's cells.

A cell is an unsigned number of 32 bits: 0 for nothing, else the *gid* of a tile in the lower 28 bits and four flags in
the upper ones. A layer stores its cells as numbers, as numbers between commas, or as little-endian bytes in base64,
packed with zlib, gzip or Zstandard or not at all. What is unpacked is never larger than the layer says it is.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, MissingExtraError

__all__ = [
    "FLAGS",
    "GID",
    "MAX_CELLS",
    "Cells",
    "Payload",
    "decode_cells",
    "encode_bytes",
    "flag_suffix",
    "suffix_flags",
]

Cells = npt.NDArray[np.uint32]
"""Cells as the file has them: gids with their flags."""

Payload = str | Sequence[int]
"""Cells as they are written: text, or plain numbers."""

MAX_CELLS = 100_000_000
"""No map may have more cells than this, all layers together."""

FLAGS = 0xF0000000
GID = 0x0FFFFFFF
_LETTERS = {"h": 0x80000000, "v": 0x40000000, "d": 0x20000000, "r": 0x10000000}
_ORDER = "hvdr"
_NUMBERS = re.compile(r"[0-9,\s]*")
_WINDOW_BITS = {"zlib": 15, "gzip": 31}
_ZSTD_WINDOW = 1 << 27


def flag_suffix(flags: int) -> str:
    """Return how flips show in a tile's name: ``~hd`` for horizontal and diagonal, nothing for none.

    ``h`` mirrors left and right, ``v`` top and bottom, ``d`` swaps rows and columns, and ``r`` turns a hexagonal tile
    by 120 degrees.
    """
    letters = "".join(letter for letter in _ORDER if flags & _LETTERS[letter])
    return f"~{letters}" if letters else ""


def suffix_flags(letters: str) -> int | None:
    """Return the flags of the letters after the ``~``, or None if they are none of ours."""
    if not letters or letters != "".join(letter for letter in _ORDER if letter in letters):
        return None
    return sum(_LETTERS[letter] for letter in letters)


def decode_cells(payload: Payload, encoding: str, compression: str, count: int, where: str) -> Cells:
    """Return the ``count`` cells that a layer or a chunk stores.

    Args:
        payload: Text for ``csv`` and ``base64``, numbers otherwise.
        encoding: ``csv``, ``base64``, or nothing for numbers.
        compression: ``zlib``, ``gzip``, ``zstd``, or nothing.
        count: Cells there must be.
        where: File and line, for messages.

    Returns:
        uint32 [count].

    Raises:
        DataError: The data are not what the encoding says, or hold another number of cells.
        MissingExtraError: The data are packed with Zstandard and its package is not installed.
    """
    if not isinstance(payload, str):
        return _from_numbers(payload, count, where)
    if encoding == "csv":
        return _from_csv(payload, count, where)
    if encoding != "base64":
        remedy = "save the map again with the layer format CSV or base64"
        raise DataError(f"layer data of the unknown encoding {encoding!r}", source=where, remedy=remedy)
    try:
        packed = base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"layer data that are not base64 ({error})", source=where, remedy=_DAMAGED) from error
    unpacked = _unpack(packed, compression, count * 4 + 1, where)
    if len(unpacked) != count * 4:
        size = f"more than {count * 4}" if len(unpacked) > count * 4 else str(len(unpacked))
        raise DataError(
            f"layer data of {size} bytes, but its {count} cells need {count * 4}", source=where, remedy=_DAMAGED
        )
    return np.frombuffer(unpacked, "<u4").astype(np.uint32, copy=False)


_DAMAGED = "the file is damaged or was edited by hand: open it in Tiled and save it again"


def _from_numbers(numbers: Sequence[int], count: int, where: str) -> Cells:
    if len(numbers) != count:
        message = f"layer data of {len(numbers)} cells where there must be {count}"
        raise DataError(message, source=where, remedy=_DAMAGED)
    try:
        cells = np.array(numbers, np.int64)
    except (OverflowError, TypeError, ValueError) as error:
        raise DataError("layer data that are not all whole numbers", source=where, remedy=_DAMAGED) from error
    if cells.ndim != 1 or (count and (cells.min() < 0 or cells.max() > 0xFFFFFFFF)):
        odd = [str(number) for number in numbers if not 0 <= int(number) <= 0xFFFFFFFF]
        message = f"layer data with {odd[0][:20] if odd else '?'}, which is no number of a tile"
        raise DataError(message, source=where, remedy=_DAMAGED)
    return cells.astype(np.uint32)


def _from_csv(text: str, count: int, where: str) -> Cells:
    found = text.count(",") + 1 if text.strip() else 0
    if found != count:
        message = f"layer data of {found} cells where there must be {count}"
        raise DataError(message, source=where, remedy=_DAMAGED)
    try:
        if not _NUMBERS.fullmatch(text):
            raise ValueError("not only numbers and commas")
        numbers = json.loads(f"[{text}]")
    except ValueError as error:
        odd = next((cell.strip() for cell in text.split(",") if not cell.strip().isdecimal()), "")
        message = f"layer data with {odd[:20]!r} between the commas, which is no number of a tile"
        raise DataError(message, source=where, remedy=_DAMAGED) from error
    return _from_numbers(numbers, count, where)


def _unpack(packed: bytes, compression: str, limit: int, where: str) -> bytes:
    """Unpack at most ``limit`` bytes, whatever the data promise."""
    if not compression:
        return packed
    if compression == "zstd":
        return _unpack_zstd(packed, limit, where)
    if compression not in _WINDOW_BITS:
        remedy = "save the map again with the layer format CSV, or base64 with zlib"
        raise DataError(f"layer data of the unknown compression {compression!r}", source=where, remedy=remedy)
    unpacker = zlib.decompressobj(_WINDOW_BITS[compression])
    try:
        unpacked = unpacker.decompress(packed, limit)
    except zlib.error as error:
        raise DataError(f"layer data that are not {compression} ({error})", source=where, remedy=_DAMAGED) from error
    if len(unpacked) < limit and not unpacker.eof:
        raise DataError(f"layer data whose {compression} stream is cut off", source=where, remedy=_DAMAGED)
    return unpacked


def _unpack_zstd(packed: bytes, limit: int, where: str) -> bytes:
    zstandard = _zstandard()
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(packed)
        parts: list[bytes] = []
        while limit and (part := reader.read(min(limit, 1 << 20))):
            parts.append(part)
            limit -= len(part)
    except (zstandard.ZstdError, MemoryError) as error:
        raise DataError(f"layer data that are not zstd ({error})", source=where, remedy=_DAMAGED) from error
    return b"".join(parts)


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise MissingExtraError("zstandard", "tiled") from error


def encode_bytes(cells: Cells, compression: str) -> str:
    """Return cells as base64 text, packed as ``compression`` says; the same cells always give the same text."""
    plain = cells.astype("<u4").tobytes()
    if compression == "zstd":
        packed = bytes(_zstandard().ZstdCompressor().compress(plain))
    elif compression:
        packer = zlib.compressobj(wbits=_WINDOW_BITS[compression])
        packed = packer.compress(plain) + packer.flush()
    else:
        packed = plain
    return base64.b64encode(packed).decode("ascii")
