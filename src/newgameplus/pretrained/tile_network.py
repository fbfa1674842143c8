"""A decoder over tiles: predicts each tile of a level from the tiles before it, near and far, and from what is asked.

Every tile's embedding is what it means (shared by all games) plus what is its own, so that the tiles of a new game
start from what is alike. Positions are two-dimensional: half of each attention head turns with the column, half with
the row (rotary embeddings, Su et al. 2021, doi 10.48550/arXiv.2104.09864), so that levels may have any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from newgameplus.pretrained.tile_tokens import EDGE_LIMIT, OFFSETS, SPECIALS, TileTokens

__all__ = ["Cache", "TileNetwork", "TileNetworkShape", "rotary", "wish_map"]


@dataclass(frozen=True)
class TileNetworkShape:
    """The size of a tile network.

    Attributes:
        tiles: Tiles it can tell apart.
        meanings: Meanings that tiles can have.
        wishes: Features that say what is asked of a level.
        width: Features of a token.
        layers: Transformer blocks.
        heads: Attention heads; ``width / heads`` must be a multiple of 4.
        embedding: Features of a tile.
        context: Most tokens that it attends to.
    """

    tiles: int
    meanings: int
    wishes: int
    width: int = 160
    layers: int = 4
    heads: int = 5
    embedding: int = 48
    context: int = 448

    def as_dict(self) -> dict[str, int]:
        """Return the shape as plain data."""
        return asdict(self)


class Cache:
    """Keys and values of the tokens so far, for decoding one token at a time.

    Args:
        layers: Number of blocks.
        batch: Levels decoded together.
        heads: Attention heads.
        capacity: Most tokens it can hold.
        size: Features of a head.
    """

    def __init__(self, layers: int, batch: int, heads: int, capacity: int, size: int, like: Tensor) -> None:
        shape = (layers, batch, heads, capacity, size)
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.length, self.capacity = 0, capacity


def rotary(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines [..., size / 2] for positions [..., 2]: a quarter of a head each for column and row."""
    quarter = size // 4
    rates = 10.0 ** (-2.5 * torch.arange(quarter, device=position.device, dtype=torch.float32) / quarter)
    angles = (position.unsqueeze(-1).to(torch.float32) * rates).flatten(-2)
    return angles.cos(), angles.sin()


def _turn(values: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = values.chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, first * sines + second * cosines], dim=-1)


def wish_map(features: int, width: int) -> nn.Linear:
    """Return a linear map of what is asked of a level; with nothing to ask for, one of no weights."""
    linear = nn.Linear(max(1, features), width, bias=False)
    if not features:  # torch warns when it is to draw no weights at random
        linear.in_features, linear.weight = 0, nn.Parameter(torch.empty(width, 0))
    return linear


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.before_expand = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.shrink = nn.Linear(4 * width, width)

    def forward(self, hidden: Tensor, cosines: Tensor, sines: Tensor, cache: Cache | None, number: int) -> Tensor:
        batch, tokens, width = hidden.shape
        mixed = self.mix(self.before_attention(hidden)).view(batch, tokens, 3, self.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        query, key = _turn(query, cosines, sines), _turn(key, cosines, sines)
        causal = True
        if cache is not None:
            first, last = cache.length, cache.length + tokens
            cache.keys[number, :, :, first:last] = key
            cache.values[number, :, :, first:last] = value
            key, value = cache.keys[number, :, :, :last], cache.values[number, :, :, :last]
            causal = tokens > 1  # a prefill starts with an empty cache
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        hidden = hidden + self.out(seen.transpose(1, 2).reshape(batch, tokens, width))
        expanded = functional.gelu(self.expand(self.before_expand(hidden)), approximate="tanh")
        summed: Tensor = hidden + self.shrink(expanded)
        return summed


class TileNetwork(nn.Module):
    """The bundled architecture.

    Args:
        shape: Its size.
        meanings: float32 [tiles, meanings]: 1 where a tile has a meaning.
    """

    meanings: Tensor

    def __init__(self, shape: TileNetworkShape, meanings: Tensor) -> None:
        super().__init__()
        self.shape = shape
        width, size = shape.width, shape.embedding
        self.register_buffer("meanings", meanings.to(torch.float32))
        self.special = nn.Parameter(torch.randn(SPECIALS, size) * 0.5)
        self.own = nn.Parameter(torch.randn(shape.tiles, size) * 0.3)
        self.meant = nn.Parameter(torch.randn(shape.meanings, size) * 0.5)
        self.around = nn.Linear(len(OFFSETS) * size, width)
        self.place = nn.ModuleList(nn.Embedding(EDGE_LIMIT, width) for _ in range(4))
        self.wishes = wish_map(shape.wishes, width)
        self.enter = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(approximate="tanh"))
        self.layers = nn.ModuleList(_Block(width, shape.heads) for _ in range(shape.layers))
        self.leave = nn.LayerNorm(width)
        self.answer = nn.Linear(width, size)
        self.answer_own = nn.Parameter(torch.randn(shape.tiles, size) * 0.1)
        self.answer_meant = nn.Parameter(torch.randn(shape.meanings, size) * 0.1)
        self.bias = nn.Parameter(torch.zeros(shape.tiles))
        for table in self.place:
            nn.init.normal_(table.weight, std=0.1)  # type: ignore[arg-type]

    def forward(
        self, tokens: TileTokens, cache: Cache | None = None, own: Tensor | None = None, tables: Any = None
    ) -> Tensor:
        """Predict the tile at every token.

        Args:
            tokens: Tensors; see :class:`TileTokens`. Padding goes to the end, where nothing attends to it.
            cache: Attend to the tokens in it too, and add these to it; one token at a time once it is not empty.
            own: float32 [batch]: share of what tiles are besides their meanings (0 in training hides it, so that
                meanings alone must do); None is 1.
            tables: What :meth:`tables` gave, to save its work in every step of a decoding.

        Returns:
            float32 [batch, tokens, tiles]: logits.
        """
        inputs, outputs = self.tables() if tables is None else tables
        if own is None:
            near = inputs[tokens.around]
        else:
            share = own.view(-1, 1, 1, 1)
            meant = torch.cat([self.special, self.meanings @ self.meant])
            rest = torch.cat([torch.zeros_like(self.special), self.own])
            near = meant[tokens.around] + share * rest[tokens.around]
        entered = self.around(near.flatten(-2)) + self.wishes(tokens.wishes)
        for number, table in enumerate(self.place):
            entered = entered + table(tokens.place[..., number])
        hidden = entered + self.enter(entered)
        cosines, sines = rotary(tokens.position, self.shape.width // self.shape.heads)
        cosines, sines = cosines.unsqueeze(1), sines.unsqueeze(1)
        for number, block in enumerate(self.layers):
            hidden = block(hidden, cosines, sines, cache, number)
        if cache is not None:
            cache.length += hidden.shape[1]
        answer = self.answer(self.leave(hidden))
        if own is None:
            logits: Tensor = answer @ outputs.T + self.bias
        else:
            meant = answer @ (self.meanings @ self.answer_meant).T
            logits = meant + own.view(-1, 1, 1) * (answer @ self.answer_own.T + self.bias)
        return logits

    @property
    def context(self) -> int:
        """Most tokens that it attends to."""
        return self.shape.context

    def description(self) -> dict[str, Any]:
        """Return what is needed to build the network again, as plain data."""
        return {"family": "tile-decoder", "shape": self.shape.as_dict()}

    def tables(self) -> tuple[Tensor, Tensor]:
        """Return the embeddings of specials and tiles at the input [specials + tiles, size] and at the output."""
        inputs = torch.cat([self.special, self.meanings @ self.meant + self.own])
        return inputs, self.meanings @ self.answer_meant + self.answer_own

    def new_cache(self, batch: int, least: int = 0) -> Cache:
        """Return an empty cache for decoding ``batch`` levels together, for ``least`` tokens or its context."""
        shape = self.shape
        size = shape.width // shape.heads
        return Cache(shape.layers, batch, shape.heads, max(shape.context, least), size, self.bias)

    def vocabulary(self) -> list[Tensor]:
        """Return the parameters that belong to this game's tiles and wishes: what a probe moves."""
        return [self.own, self.answer_own, self.bias, self.wishes.weight]

    def blocks(self) -> Sequence[nn.Module]:
        """Return the transformer blocks, from input to output."""
        return list(self.layers)
