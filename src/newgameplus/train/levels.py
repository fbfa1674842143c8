"""Levels as examples for training: windows of columns, drawn by seed, with measures told or hidden."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus.games.conditions import wish_features
from newgameplus.pretrained.tile_tokens import BORDER, EDGE_LIMIT, TileTokens, encode_window

__all__ = ["LevelBook", "LevelExample", "collate"]


@dataclass(frozen=True, eq=False)
class LevelExample:
    """One level to learn from.

    Attributes:
        scan: int32 [columns, rows]: the tiles in the order of the scan.
        values: What the level measures; NaN or absent where unknown.
        counts: float64 [measures, columns + 1]: see ``conditions.column_counts``.
        allowed: Tiles of the vocabulary that its game has, for training on several games at once; None is all.
        weight: How often it is drawn, against the others; None counts its columns.
    """

    scan: npt.NDArray[np.int32]
    values: Mapping[str, float]
    counts: npt.NDArray[np.float64]
    allowed: npt.NDArray[np.bool_] | None = None
    weight: float | None = None


@dataclass(frozen=True, eq=False)
class Window:
    """The tokens of some columns of one level, numpy, without a batch axis."""

    tokens: TileTokens
    targets: npt.NDArray[np.int64]
    counted: npt.NDArray[np.bool_]
    allowed: npt.NDArray[np.bool_] | None = None


@dataclass(eq=False)
class LevelBook:
    """Levels and how windows are drawn from them.

    Attributes:
        examples: The levels.
        measures: What the model can be told, in its order.
        context: Most tokens of a window.
        hide: Share of the windows' measures that are hidden; as often, all of a window's are.
    """

    examples: Sequence[LevelExample]
    measures: tuple[str, ...]
    context: int
    hide: float = 0.3
    _shares: npt.NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sizes = np.array([e.scan.shape[0] if e.weight is None else e.weight for e in self.examples], np.float64)
        self._shares = sizes / sizes.sum()

    def draw(self, rng: np.random.Generator, count: int, part: Collection[int] | None = None) -> list[Window]:
        """Draw windows: levels by their columns, places and hidden measures at random.

        Args:
            rng: What to draw from; it goes on alike whatever part is wanted.
            count: How many to draw.
            part: Which of them to return; None for all.
        """
        picks = rng.choice(len(self.examples), size=count, p=self._shares)
        drawn = [(self.examples[pick], *self._place(self.examples[pick], rng)) for pick in picks]
        return [self._window(*each) for place, each in enumerate(drawn) if part is None or place in part]

    def _place(self, example: LevelExample, rng: np.random.Generator) -> tuple[int, int, npt.NDArray[np.bool_]]:
        """Draw first column, number of columns, and which measures are hidden."""
        columns, rows = example.scan.shape
        span = max(1, min(columns, self.context // rows))
        # Starts beyond the edges let first and last columns be seen as often as the others.
        start = int(np.clip(rng.integers(-span // 2, columns - span // 2 + 1), 0, columns - span))
        hidden = rng.random(len(self.measures)) < (1.0 if rng.random() < self.hide / 2 else self.hide)
        return start, span, hidden

    def _window(self, example: LevelExample, start: int, span: int, hidden: npt.NDArray[np.bool_]) -> Window:
        values = {
            name: example.values[name]
            for name, hide in zip(self.measures, hidden, strict=True)
            if not hide and name in example.values
        }
        wishes = wish_features(self.measures, values, example.counts)
        return self.window(example, wishes, start, start + span, start)

    def window(
        self, example: LevelExample, wishes: npt.NDArray[np.float32], start: int, end: int, count_from: int
    ) -> Window:
        """Return the columns ``start`` to ``end``, of which those from ``count_from`` count in the loss."""
        rows = example.scan.shape[1]
        tokens = encode_window(example.scan, wishes, start, end)
        targets = example.scan[start:end].ravel().astype(np.int64)
        counted = np.arange(len(targets)) >= (count_from - start) * rows
        return Window(tokens, targets, counted, example.allowed)

    def whole(self, part: slice = slice(None)) -> list[list[Window]]:
        """Return windows that cover each level of a part once, each tile with at least half a context before it."""
        covering = []
        for example in self.examples[part]:
            columns, rows = example.scan.shape
            span = max(1, min(columns, self.context // rows))
            hop = max(1, span // 2)
            wishes = wish_features(self.measures, {}, example.counts)
            windows = [self.window(example, wishes, 0, span, 0)]
            for end in range(span + hop, columns + hop, hop):
                last = min(end, columns)
                windows.append(self.window(example, wishes, last - span, last, end - hop))
            covering.append(windows)
        return covering


def collate(
    windows: Sequence[Window], device: str | torch.device = "cpu"
) -> tuple[TileTokens, Tensor, Tensor, Tensor | None]:
    """Stack windows of different lengths.

    Returns:
        Tokens (padded at the end), targets int64 [batch, tokens], bool [batch, tokens] whether a token counts, and
        bool [batch, tiles] of allowed tiles or None.
    """
    length = max(len(window.targets) for window in windows)

    def padded(values: npt.NDArray[np.generic], fill: int = 0) -> npt.NDArray[np.generic]:
        missing = length - len(values)
        return np.pad(values, ((0, missing), *((0, 0),) * (values.ndim - 1)), constant_values=fill)

    def tensor(parts: list[npt.NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(parts)).to(device)

    tokens = TileTokens(
        tensor([padded(w.tokens.around, BORDER) for w in windows]),
        tensor([padded(w.tokens.previous, BORDER) for w in windows]),
        tensor([padded(w.tokens.place, EDGE_LIMIT - 1) for w in windows]),
        tensor([padded(w.tokens.position) for w in windows]),
        tensor([padded(w.tokens.wishes) for w in windows]),
    )
    targets = tensor([padded(w.targets) for w in windows])
    counted = tensor([padded(w.counted) for w in windows])
    masks = [w.allowed for w in windows if w.allowed is not None]
    allowed = torch.from_numpy(np.stack(masks)).to(device) if len(masks) == len(windows) else None
    return tokens, targets, counted, allowed
