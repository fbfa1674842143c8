"""Sampling levels tile by tile: batched, with a key-value cache, under masks; deterministic by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from newgameplus.games.conditions import FEATURES, Request, column_counts, wish_features
from newgameplus.games.rules.contract import Cell
from newgameplus.games.scanning import Order, from_scan, to_scan
from newgameplus.games.scenes import Level
from newgameplus.games.way_tiles import WayTiles
from newgameplus.generate.constraints import CountLimits, Frame
from newgameplus.pretrained.tile_decoder import TileDecoder
from newgameplus.pretrained.tile_model import TileModel
from newgameplus.pretrained.tile_network import TileNetwork
from newgameplus.pretrained.tile_tokens import LineTokens, TileTokens, encode_window

__all__ = ["Draft", "Sampler"]

Grid = npt.NDArray[np.int32]
_WAY_TRIES = 6
"""Times that a line is drawn in which the way would end; then it stays as it is."""
_WAY_STEP = 2
"""Places by which a way may rise or fall from one line to the next."""


@dataclass(eq=False)
class Draft:
    """One level that is being made.

    Attributes:
        scan: int32 [lines, places]: tiles so far, -1 where none is yet.
        fixed: int32 [lines, places]: tiles that are given, -1 where the model is free.
        requests: What is asked of it.
        hints: Values of other measures that the model is told, which nobody insists on.
        rng: Its own random numbers, so that it does not depend on what is made beside it.
        line: Lines done.
        logits: float16 [lines, places, tiles]: what the network said before masks; NaN where it was not asked.
        limits: Counts that are watched.
        cornered: Whether structure had to be broken because nothing was allowed.
        steps: Tiles sampled so far, discarded ones included.
    """

    scan: Grid
    fixed: Grid
    requests: tuple[Request, ...]
    rng: np.random.Generator
    limits: CountLimits
    hints: Mapping[str, float] = field(default_factory=dict)
    line: int = 0
    logits: npt.NDArray[np.float16] = field(init=False, repr=False)
    cornered: bool = False
    steps: int = 0

    def __post_init__(self) -> None:
        self.logits = np.full((*self.scan.shape, self.limits.flags.shape[1]), np.nan, np.float16)

    @property
    def done(self) -> bool:
        """Whether every tile stands."""
        return self.line >= len(self.scan)

    def back_to(self, line: int) -> None:
        """Forget everything from a line on."""
        self.line = max(0, min(line, self.line))
        self.scan[self.line :] = -1
        self.cornered = False


class Sampler:
    """Makes levels with a tile model.

    Args:
        model: The model; its network is in evaluation mode.
        template: Any level of the game: its tileset is that of the model.
        order: How levels grow.
        frame: Hard structure to keep; None keeps none.
        temperature: Above 1 more daring, below 1 more usual; 0 takes the likeliest tile.
        top_p: Sample among the likeliest tiles that share this much probability.
        way: Which of the model's tiles have the solver's way on them; None if none have.
    """

    def __init__(
        self,
        model: TileModel,
        template: Level,
        *,
        order: Order = "columns",
        frame: Frame | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        way: WayTiles | None = None,
    ) -> None:
        self.model, self.template, self.order = model, template, order
        self.network = model.network
        self.way = way or WayTiles.none(template.tileset)
        self.frame = frame or Frame.free(len(self.way.base), len(template.tileset))
        self.temperature, self.top_p = temperature, top_p
        self._device = next(self.network.parameters()).device

    def draft(
        self,
        height: int,
        width: int,
        seed: Sequence[int],
        requests: Sequence[Request] = (),
        fixed: npt.NDArray[np.int32] | None = None,
        hints: Mapping[str, float] | None = None,
    ) -> Draft:
        """Begin a level.

        Args:
            height: Rows.
            width: Columns.
            seed: Everything that makes this level another than the others.
            requests: What is asked of it.
            fixed: int32 [height, width]: given tiles, -1 where the model is free.
            hints: Values of other measures that the model is told.
        """
        empty = np.full((height, width), -1, np.int32)
        given = to_scan(empty if fixed is None else fixed.astype(np.int32), self.order)
        limits = CountLimits(requests, self.template, self.frame.single, self.way.base, self.frame.groups)
        rng = np.random.default_rng(list(seed))
        return Draft(np.full_like(given, -1), given.copy(), tuple(requests), rng, limits, dict(hints or {}))

    def level(self, draft: Draft, name: str = "", lines: int | None = None) -> Level:
        """Return what stands of a draft as a level: all of it, or its first lines."""
        scan = draft.scan[: draft.line if lines is None else lines]
        return self.template.with_tiles(self.way.plain(from_scan(scan, self.order)), name)

    @torch.inference_mode()
    def grow(self, drafts: Sequence[Draft], until: int) -> None:
        """Make the lines up to ``until`` of drafts of one size that stand at the same line.

        Lines that are wholly given are taken over without asking the network.
        """
        lines, places = drafts[0].scan.shape
        until = min(until, lines)
        cache, tables = None, self._tables()
        for line in range(drafts[0].line, until):
            if all((draft.fixed[line] >= 0).all() for draft in drafts):
                for draft in drafts:
                    draft.scan[line], draft.line = draft.fixed[line], line + 1
                cache = None
                continue
            if cache is None or cache.length + places > cache.capacity:
                cache = self._prefill(drafts, line)
            self._line(drafts, line, cache, tables)

    @torch.inference_mode()
    def likelihood(
        self, level: Level, first: int, last: int, requests: Sequence[Request] = (), way: Sequence[Cell] = ()
    ) -> npt.NDArray[np.float64]:
        """Return float64 [last - first, places]: how likely the model finds the tiles of some lines of a level.

        Args:
            level: The whole level.
            first: First line.
            last: Last line, exclusive.
            requests: What was asked of the level.
            way: The solver's way through it, for models that learned levels with it.

        Returns:
            Natural logarithms of probabilities, before masks and temperature, each given all tiles before it that the
            model attends to: at least half of its context.
        """
        draft = self.draft(level.height, level.width, (0,), requests)
        draft.scan[:] = to_scan(self.way.draw(level, way), self.order)
        lines, places = draft.scan.shape
        same = self.way.base[:, None] == np.arange(len(self.way.twin))
        span = max(2, self.network.new_cache(1, 2 * places).capacity // places)  # type: ignore[operator]
        told = np.zeros((last - first, places))
        for begin in range(first, last, span // 2):
            end = min(last, begin + span // 2)
            start = max(0, end - span)
            window = encode_window(draft.scan[:end], self._wishes(draft, end), start, end, width=lines)
            tokens = TileTokens(*(values[None] for values in vars(window).values())).to_tensors(str(self._device))
            logits = self.network(tokens, None, None, self.network.tables())[0].float()  # type: ignore[operator]
            shares = logits.softmax(dim=-1).cpu().numpy().reshape(end - start, places, -1)[begin - start :]
            tiles = self.way.base[draft.scan[begin:end]][..., None].astype(np.int64)
            told[begin - first : end - first] = np.take_along_axis(shares @ same, tiles, axis=-1)[..., 0]
        return np.asarray(np.log(np.maximum(told, 1e-30)))

    def _prefill(self, drafts: Sequence[Draft], line: int) -> Any:
        """Start a cache with the lines before; with half of what it holds if the whole level is too much for it."""
        lines, places = drafts[0].scan.shape
        cache = self.network.new_cache(len(drafts), 2 * places)  # type: ignore[operator]
        kept = line if lines * places <= cache.capacity else max(1, cache.capacity // places // 2)
        first = max(0, line - kept)
        if first < line:
            parts = [encode_window(d.scan[:line], self._wishes(d, line), first, line, width=lines) for d in drafts]
            stacked = TileTokens(*(np.stack([getattr(p, name) for p in parts]) for name in vars(parts[0])))
            self.network(stacked.to_tensors(str(self._device)), cache)
        return cache

    def _wishes(self, draft: Draft, lines: int) -> npt.NDArray[np.float32]:
        """Return what is asked at each of the first lines and the next one: float32 [lines + 1, features]."""
        measures = self.model.measures
        values = {**draft.hints, **{request.measure: request.target for request in draft.requests}}
        total = len(draft.scan)
        if not values:
            return np.zeros((lines + 1, len(measures) * FEATURES), np.float32)
        so_far = self.level(draft, lines=lines)
        counts = column_counts(so_far, measures, by_rows=self.order == "rows")
        padded = np.concatenate([counts, counts[:, -1:]], axis=1)
        return wish_features(measures, values, padded, left=np.arange(total, total - lines - 1, -1))

    def _line(self, drafts: Sequence[Draft], line: int, cache: Any, tables: object) -> None:
        """Make one line of every draft; again, a few times, where the way through the level would end in it."""
        settled = [False] * len(drafts)
        for _ in range(_WAY_TRIES):
            self._draw_line(drafts, line, cache, tables, settled)
            settled = [self._keeps_way(draft, line) for draft in drafts]
            if all(settled):
                break
            cache.length -= drafts[0].scan.shape[1]
        else:
            cache.length += drafts[0].scan.shape[1]
        for draft in drafts:
            draft.line = line + 1

    def _keeps_way(self, draft: Draft, line: int) -> bool:
        """Whether the drawn way goes on from the line before; always so where it need not."""
        if not (self.way.drawn and self.way.throughout) or (draft.fixed[line] >= 0).all():
            return True
        here = np.nonzero(self.way.on_way[draft.scan[line]])[0]
        if line == 0:
            return len(here) > 0
        before = np.nonzero(self.way.on_way[draft.scan[line - 1]])[0]
        if not len(before):  # it was lost before, or what stands there was given without it
            return True
        return bool(len(here) and np.abs(before[:, None] - here).min() <= _WAY_STEP)

    def _draw_line(
        self, drafts: Sequence[Draft], line: int, cache: Any, tables: object, settled: Sequence[bool]
    ) -> None:
        lines, places = drafts[0].scan.shape
        near = LineTokens(
            [draft.scan for draft in drafts], np.stack([self._wishes(draft, line)[line] for draft in drafts]), line
        )
        if isinstance(tables, TileDecoder):
            tables.begin_line(near)
        masks = [self._mask(draft, line) for draft in drafts]
        counts = [draft.limits.counts(draft.scan[:line], draft.fixed[:line]) for draft in drafts]
        later = [draft.limits.counts(draft.fixed[line:], draft.fixed[line:]) for draft in drafts]
        # A line that is wholly given takes no random numbers, so that a level does not depend on its batch mates.
        draws = np.zeros((len(drafts), places))
        for number, draft in enumerate(drafts):
            if (draft.fixed[line] < 0).any() and not settled[number]:
                draws[number] = draft.rng.random(places)
        for place in range(places):
            logits = self._logits(near, place, cache, tables)
            for number, draft in enumerate(drafts):
                draft.logits[line, place] = logits[number]
                given = int(draft.fixed[line, place])
                tile = given if given < 0 else self._with_way(given, logits[number])
                if settled[number]:
                    tile = int(draft.scan[line, place])
                elif given < 0:
                    known = counts[number] + later[number]
                    done = (line * places + place) / (lines * places)
                    allowed = self._allowed(draft, masks[number][place], known, line, place)
                    biased = logits[number] + draft.limits.pressure(known, done) if len(known) else logits[number]
                    tile = self._choose(biased, allowed, float(draws[number, place]))
                    draft.steps += 1
                    counts[number] += draft.limits.flags[:, tile]
                draft.scan[line, place] = tile
                near.put(number, place, tile)

    def _logits(self, near: LineTokens, place: int, cache: Any, tables: Any) -> npt.NDArray[np.float32]:
        if isinstance(tables, TileDecoder):
            return tables.step(place, cache)
        tokens = near.at(place, str(self._device))
        logits: npt.NDArray[np.float32] = self.network(tokens, cache, None, tables)[:, 0].float().cpu().numpy()
        return logits

    def _tables(self) -> Any:
        """Return what all steps of a decoding share."""
        network = self.network
        if isinstance(network, TileNetwork) and self._device.type == "cpu" and network.bias.dtype == torch.float32:
            return TileDecoder(network)
        return network.tables()  # type: ignore[operator]

    def _allowed(
        self, draft: Draft, mask: npt.NDArray[np.bool_], counts: npt.NDArray[np.float64], line: int, place: int
    ) -> npt.NDArray[np.bool_]:
        """Return what may stand at a place: all that structure and counts allow, or else as much of it as can be."""
        structure = mask & self.frame.next(draft.scan, line, place)
        limited = structure & draft.limits.allowed(counts)
        if limited.any():
            return limited
        draft.cornered = True
        return structure if structure.any() else mask if mask.any() else np.ones_like(mask)

    def _with_way(self, given: int, logits: npt.NDArray[np.float32]) -> int:
        """Return a given tile, with the way on it where the model would draw it there."""
        twin = int(self.way.twin[self.way.base[given]])
        return twin if logits[twin] > logits[given] else given

    def _choose(self, logits: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_], draw: float) -> int:
        masked = np.where(allowed, logits.astype(np.float64), -np.inf)
        if self.temperature <= 0:
            return int(masked.argmax())
        masked = (masked - masked.max()) / self.temperature
        shares = np.exp(masked)
        shares /= shares.sum()
        if self.top_p < 1.0:
            order = np.argsort(-shares, kind="stable")
            kept = np.cumsum(shares[order]) - shares[order] < self.top_p
            cut = np.zeros_like(shares)
            cut[order[kept]] = shares[order[kept]]
            shares = cut / cut.sum()
        return min(int(np.searchsorted(np.cumsum(shares), draw, side="right")), len(shares) - 1)

    def _mask(self, draft: Draft, line: int) -> npt.NDArray[np.bool_]:
        lines = len(draft.scan)
        before = draft.scan[line - 1] if line else None
        following = draft.fixed[line + 1] if line + 1 < lines else None
        return self.frame.line(before, draft.fixed[line], following, line == lines - 1)
