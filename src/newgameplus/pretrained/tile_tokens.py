"""How a level becomes tokens: one a tile, column by column, each with what lies around it and where it is.

A level is scanned as ``scan`` [columns, rows]: the first row of a column is the bottom of the level, and columns run
from left to right (a level that grows downwards is turned before). The token of a cell says what the tile *there* is to
be predicted from: the tiles around it that come before it, its distance to each edge, and what is asked of the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BORDER", "EDGE_LIMIT", "HIDDEN", "OFFSETS", "SPECIALS", "LineTokens", "TileTokens", "encode_window"]

SPECIALS = 2
BORDER = 0
"""Number of the special tile that stands outside of a level."""
HIDDEN = 1
"""Number of the special tile that stands where a tile is not known yet."""
EDGE_LIMIT = 32
"""Distances to an edge are told exactly below this many tiles."""

#: Cells that a cell is predicted from, as (columns back, rows up); all of them come before it in the scan.
OFFSETS: tuple[tuple[int, int], ...] = (
    *((0, -back) for back in range(1, 5)),
    *((1, up) for up in range(-3, 4)),
    *((2, up) for up in range(-2, 3)),
    *((3, up) for up in range(-1, 2)),
    (4, 0),
)
_BACK = max(back for back, _ in OFFSETS)
_UP = max(abs(up) for _, up in OFFSETS)


@dataclass
class TileTokens:
    """A batch of scanned windows; the same fields as numpy arrays or as tensors.

    Attributes:
        around: int64 [batch, tokens, offsets]: tiles around, tile ``n`` as ``n + SPECIALS``.
        previous: int64 [batch, tokens]: the tile before in the scan, likewise; ``BORDER`` before the first.
        place: int64 [batch, tokens, 4]: distance to the bottom, top, left and right edge, at most ``EDGE_LIMIT - 1``.
        position: int64 [batch, tokens, 2]: column and row.
        wishes: float32 [batch, tokens, features]: what is asked of the level; see ``games.conditions``.
    """

    around: Any
    previous: Any
    place: Any
    position: Any
    wishes: Any

    def to_tensors(self, device: str = "cpu") -> TileTokens:
        """Return the same tokens as tensors."""
        import torch

        def tensor(values: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device)

        return TileTokens(*(tensor(values) for values in vars(self).values()))


def _padded(scan: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return the scan with a border around it, tiles shifted behind the specials; unknown tiles (-1) are hidden."""
    columns, rows = scan.shape
    padded = np.full((columns + _BACK, rows + 2 * _UP), BORDER, np.int64)
    padded[_BACK:, _UP : _UP + rows] = np.where(scan < 0, HIDDEN, scan + SPECIALS)
    return padded


_COLUMNS_BACK = np.array([back for back, _ in OFFSETS])
_ROWS_UP = np.array([up for _, up in OFFSETS])


def encode_window(
    scan: npt.NDArray[np.int32],
    wishes: npt.NDArray[np.float32],
    start: int,
    end: int,
    *,
    width: int | None = None,
) -> TileTokens:
    """Encode the columns ``start`` to ``end`` of a level as tokens (numpy, without a batch axis).

    Args:
        scan: int32 [columns, rows]; tiles not known yet are -1.
        wishes: float32 [columns, features].
        start: First column.
        end: Last column, exclusive.
        width: Columns of the whole level, if ``scan`` holds only its first ones.
    """
    columns, rows = scan.shape
    width = columns if width is None else width
    padded = _padded(scan)
    column, row = np.divmod(np.arange(start * rows, end * rows), rows)
    around = padded[column[:, None] + _BACK - _COLUMNS_BACK, row[:, None] + _UP + _ROWS_UP]
    flat = np.concatenate([[BORDER], np.where(scan < 0, HIDDEN, scan + SPECIALS).ravel()])
    place = np.stack([row, rows - 1 - row, column, width - 1 - column], axis=-1)
    return TileTokens(
        around,
        flat[column * rows + row].astype(np.int64),
        np.clip(place, 0, EDGE_LIMIT - 1),
        np.stack([column, row], axis=-1),
        wishes[column],
    )


class LineTokens:
    """The tokens of one line of several levels, one place after the other, while they are made.

    Args:
        scans: int32 [lines, places] each, made up to ``line``.
        wishes: float32 [levels, features].
        line: The line that is made.
    """

    def __init__(self, scans: Sequence[npt.NDArray[np.int32]], wishes: npt.NDArray[np.float32], line: int) -> None:
        lines, places = scans[0].shape
        self._near = np.full((len(scans), _BACK + 1, places + 2 * _UP), BORDER, np.int64)
        first = max(0, line - _BACK)
        for number, scan in enumerate(scans):
            self._near[number, _BACK - (line - first) : _BACK, _UP : _UP + places] = scan[first:line] + SPECIALS
        self._near[:, _BACK, _UP : _UP + places] = HIDDEN
        self._previous = self._near[:, _BACK - 1, _UP + places - 1].copy()
        row = np.arange(places)
        place = np.stack([row, places - 1 - row, np.full(places, line), np.full(places, lines - 1 - line)], axis=-1)
        self._place = np.tile(np.clip(place, 0, EDGE_LIMIT - 1), (len(scans), 1, 1))
        position = np.stack([np.full(places, line), row], axis=-1)
        self._position = np.tile(position, (len(scans), 1, 1))
        self._wishes = wishes[:, None]

    def at(self, place: int, device: str) -> TileTokens:
        """Return the tokens of one place, as tensors [levels, 1, ...]."""
        around = self.around(place)[:, None]
        here = slice(place, place + 1)
        tokens = TileTokens(
            around, self._previous[:, None], self._place[:, here], self._position[:, here], self._wishes
        )
        return tokens.to_tensors(device)

    def line_facts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return what is known of the whole line: int64 [places, 4], int64 [places, 2], float32 [levels, features]."""
        return self._place[0], self._position[0], self._wishes[:, 0]

    def around(self, place: int) -> npt.NDArray[np.int64]:
        """Return int64 [levels, offsets]: the tiles around a place."""
        return self._near[:, _BACK - _COLUMNS_BACK, _UP + place + _ROWS_UP]

    def put(self, number: int, place: int, tile: int) -> None:
        """Say which tile one level has at a place."""
        self._near[number, _BACK, _UP + place] = tile + SPECIALS
        self._previous[number] = tile + SPECIALS
