"""The parts of a Gymnasium observation space: where each lies, and how it is laid out in our arrays.

:mod:`newgameplus.gymnasium_spaces` translates with them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.spaces import SINGLE, ObservationPart

__all__ = ["VOCABULARY", "Leaf", "Names", "collect_leaves", "name_leaves", "words_to_tokens"]

Array = npt.NDArray[Any]
Names = Sequence[str] | Mapping[str, Sequence[str]]
"""Names of features: of the only part, or by part."""

VOCABULARY = 512
"""Tokens of a text: 0 fills up, 1..511 are words by their digest."""
_LONGEST_TEXT = 64
_MOST_CODES = 64
_MINIGRID_CODES = (11, 6, 3)
_WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(eq=False)
class Leaf:
    """One part: where it lies in what the game gives, and how it is laid out in ours.

    Attributes:
        part: What we call it.
        path: Keys that lead to it.
        shape: Shape in the game.
        dtype: Type in the game.
        split: Our shape, written so that a transposition by ``axes`` gives the game's shape.
        axes: The transposition.
        convert: What turns a value that is no plain array into one; None for arrays.
        start: Smallest value of choices.
        seen: Type of the arrays that the game really gives; None before the first.
    """

    part: ObservationPart
    path: tuple[Any, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    split: tuple[int, ...]
    axes: tuple[int, ...]
    convert: Callable[[Any], Any] | None = None
    start: Array | None = None
    seen: np.dtype[Any] | None = None
    limits: Array | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.part.kind in ("grid", "choice"):
            sizes = np.asarray(self.part.sizes, np.int64)
            self.limits = sizes.reshape(-1, 1, 1) if self.part.kind == "grid" else sizes

    def view(self, array: Array) -> Array:
        """Return ``array`` [n, ours], as [n, the game's], without copying."""
        count = len(array)
        whole = array.reshape(count, *self.split)
        return whole.transpose(0, *(axis + 1 for axis in self.axes)).reshape(count, *self.shape)

    def check(self, value: Any) -> Any:
        """Return ``value`` if it is of the promised shape and of a type that fits.

        Raises:
            GameError: It is not.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            message = f"{self.part.name!r} has shape {array.shape}, but its space promises {self.shape}"
            raise GameError(message, remedy="make the environment return what its observation_space says")
        if self.seen is None and array.dtype.kind in "biuf" and not self._loses(array.dtype):
            self.seen = array.dtype
        if self.seen is not None and array.dtype == self.seen:  # a dtype equals None if it is float64
            return array
        if self.seen is not None and array.dtype.kind == self.seen.kind and not self._loses(array.dtype):
            return array
        before = f"was {self.seen} and became" if self.seen is not None else f"is promised as {self.dtype} and is"
        message = f"the type of {self.part.name!r} {before} {array.dtype}"
        raise GameError(message, remedy="make the environment return what its observation_space says")

    def _loses(self, dtype: np.dtype[Any]) -> bool:
        return not np.can_cast(dtype, np.dtype(self.part.dtype), "same_kind") and not (
            dtype.kind in "iu" and self.dtype.kind in "iub"
        )


def collect_leaves(space: Any, path: tuple[Any, ...], leaves: list[Leaf], codes: dict[str, Sequence[int]]) -> None:
    """Add the parts of a space to ``leaves``, those in dictionaries and tuples included."""
    kind = _kind(space)
    name = ".".join(str(key) for key in path) or SINGLE
    if kind == "Dict":
        texts = any(_kind(one) == "MissionSpace" for one in space.spaces.values())
        image = space.spaces.get("image")
        if texts and image is not None and _is_minigrid_view(image):
            codes.setdefault(".".join([*map(str, path), "image"]), _MINIGRID_CODES)
        for key, one in space.spaces.items():
            collect_leaves(one, (*path, key), leaves, codes)
        return
    if kind == "Tuple":
        for key, one in enumerate(space.spaces):
            collect_leaves(one, (*path, key), leaves, codes)
        return
    makers: dict[str, Callable[[Any, str, tuple[Any, ...]], Leaf | None]] = {
        "Discrete": _discrete,
        "MultiDiscrete": _multi_discrete,
        "MultiBinary": _multi_binary,
        "Text": _text,
        "MissionSpace": _text,
    }
    leaf = _box(space, name, path, codes.get(name)) if kind == "Box" else None
    if kind in makers:
        leaf = makers[kind](space, name, path)
    elif kind != "Box":
        known = "Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict and Tuple"
        remedy = f"wrap the environment so that it gives one of {known}"
        raise GameError(f"{name!r} is a {kind} space, which a policy cannot see", source=str(space), remedy=remedy)
    if leaf is not None:
        leaves.append(leaf)


def _kind(space: Any) -> str:
    known = ("Dict", "Tuple", "Box", "MultiDiscrete", "Discrete", "MultiBinary", "Text", "MissionSpace")
    return next((c.__name__ for c in type(space).__mro__ if c.__name__ in known), type(space).__name__)


def _is_minigrid_view(space: Any) -> bool:
    shape = tuple(getattr(space, "shape", ()) or ())
    return len(shape) == 3 and shape[2] == 3 and shape[0] == shape[1] and shape[0] % 2 == 1 and shape[0] <= 15


def _box(space: Any, name: str, path: tuple[Any, ...], codes: Sequence[int] | None) -> Leaf | None:
    shape = tuple(int(size) for size in space.shape)
    dtype = np.dtype(space.dtype)
    if 0 in shape:
        return None
    if len(shape) > 4:
        remedy = "wrap the environment so that it gives at most four axes: stack, height, width, channels"
        raise GameError(f"{name!r} has {len(shape)} axes {shape}", source=str(space), remedy=remedy)
    low, high = float(np.min(space.low)), float(np.max(space.high))
    low, high = (0.0, 1.0) if dtype.kind == "b" else (low, high)
    if len(shape) < 2 or (len(shape) == 2 and dtype.kind == "f"):
        bounded = bool(np.isfinite([low, high]).all())
        bounds = (low, high) if bounded else (None, None)
        part = ObservationPart(name, "vector", (max(1, int(np.prod(shape))),), "float32", *bounds)
        return Leaf(part, path, shape, dtype, shape, tuple(range(len(shape))))
    ours, split, axes = _layout(shape)
    if codes is None and dtype.kind in "iu" and low >= 0 and 1 < high <= _MOST_CODES:
        tops = np.asarray(space.high).reshape(shape)
        back = np.transpose(tops, np.argsort(axes)).reshape(ours)
        codes = [int(top) + 1 for top in back.reshape(ours[0], -1).max(axis=1)]
    if codes is not None:
        if len(codes) != ours[0]:
            raise GameError(f"{name!r} has {ours[0]} channels, but codes are given for {len(codes)}", source=str(space))
        part = ObservationPart(name, "grid", ours, "uint8" if max(codes) <= 256 else "int64", sizes=tuple(codes))
        return Leaf(part, path, shape, dtype, split, axes)
    byte = dtype.kind in "iub" and low >= 0 and high <= 255
    part = ObservationPart(
        name, "image", ours, "uint8" if byte else "float32", _finite(low), _finite(high) if high > 0 else None
    )
    return Leaf(part, path, shape, dtype, split, axes)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) and abs(value) < 1e30 else None


def _layout(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return our shape (channels first), our axes written apart, and how to transpose them to the game's ``shape``."""
    if len(shape) == 2:
        return (1, *shape), shape, (0, 1)
    first = shape[-3] < shape[-1]
    if len(shape) == 3:
        if first:
            return shape, shape, (0, 1, 2)
        return (shape[2], *shape[:2]), (shape[2], *shape[:2]), (1, 2, 0)
    stack, inner = shape[0], shape[1:]
    channels, size = (inner[0], inner[1:]) if first else (inner[2], inner[:2])
    axes = (0, 1, 2, 3) if first else (0, 2, 3, 1)
    return (stack * channels, *size), (stack, channels, *size), axes


def _discrete(space: Any, name: str, path: tuple[Any, ...]) -> Leaf | None:
    if int(space.n) < 2:
        return None
    start = int(getattr(space, "start", 0))
    part = ObservationPart(name, "choice", (1,), "int64", sizes=(int(space.n),))

    def convert(value: Any) -> Any:
        if type(value) is int:
            return value - start
        number = np.asarray(value)
        if number.size != 1 or number.dtype.kind not in "iu":
            message = f"{name!r} is {value!r:.80}, but its space promises one whole number"
            raise GameError(message, remedy="make the environment return what its observation_space says")
        return int(number.reshape(())) - start

    return Leaf(part, path, (), np.dtype(np.int64), (), (), convert, np.asarray(start))


def _multi_discrete(space: Any, name: str, path: tuple[Any, ...]) -> Leaf:
    sizes = np.asarray(space.nvec)
    start = np.asarray(getattr(space, "start", np.zeros_like(sizes)))
    shape = tuple(int(size) for size in sizes.shape)
    if len(shape) >= 2:
        ours, split, axes = _layout(shape)
        back = np.transpose(sizes, np.argsort(axes)).reshape(ours)
        codes = tuple(int(top) for top in back.reshape(ours[0], -1).max(axis=1))
        part = ObservationPart(name, "grid", ours, "uint8" if max(codes) <= 256 else "int64", sizes=codes)
        shifted = start if start.any() else None
        convert = (lambda value: np.asarray(value) - start) if start.any() else None
        return Leaf(part, path, shape, np.dtype(space.dtype), split, axes, convert, shifted)
    part = ObservationPart(name, "choice", shape, "int64", sizes=tuple(int(size) for size in sizes))
    convert = (lambda value: np.asarray(value) - start) if start.any() else None
    shifted = start if start.any() else None
    return Leaf(part, path, shape, np.dtype(space.dtype), shape, tuple(range(len(shape))), convert, shifted)


def _multi_binary(space: Any, name: str, path: tuple[Any, ...]) -> Leaf | None:
    shape = tuple(int(size) for size in space.shape)
    if 0 in shape:
        return None
    if len(shape) >= 2:
        ours, split, axes = _layout(shape)
        return Leaf(
            ObservationPart(name, "image", ours, "uint8", 0.0, 1.0), path, shape, np.dtype(np.int8), split, axes
        )
    part = ObservationPart(name, "choice", shape, "int64", sizes=(2,) * shape[0])
    return Leaf(part, path, shape, np.dtype(np.int8), shape, (0,))


def _text(space: Any, name: str, path: tuple[Any, ...]) -> Leaf:
    length = _text_length(space)
    part = ObservationPart(name, "tokens", (length,), "int64", sizes=(VOCABULARY,))
    known: dict[str, Array] = {}

    def convert(value: Any) -> Array:
        if not isinstance(value, str):
            if isinstance(value, np.ndarray) and value.dtype.kind == "u":  # bytes, as envpool gives missions
                value = value.tobytes().rstrip(b"\0").decode("utf-8", "replace")
            else:
                message = f"{name!r} is {value!r:.80}, but its space promises a text"
                raise GameError(message, remedy="make the environment return what its observation_space says")
        tokens = known.get(value)
        if tokens is None:
            if len(known) > 4096:
                known.clear()
            tokens = known[value] = words_to_tokens(value, length)
        return tokens

    return Leaf(part, path, (length,), np.dtype(np.int64), (length,), (0,), convert)


def _text_length(space: Any) -> int:
    if _kind(space) == "Text":
        return max(1, min(_LONGEST_TEXT, int(space.max_length)))
    places = getattr(space, "ordered_placeholders", None)
    if places is None and type(space).__name__ != "MissionSpace":  # BabyAI's missions follow no pattern
        return _LONGEST_TEXT
    longest = [max(words, key=lambda text: len(_WORDS.findall(text))) for words in places or ()]
    return max(1, min(_LONGEST_TEXT, len(_WORDS.findall(space.mission_func(*longest)))))


def words_to_tokens(text: str, length: int, vocabulary: int = VOCABULARY) -> npt.NDArray[np.int64]:
    """Turn a text into tokens that are the same in every process: the digest of each word, in lower case.

    Different words may share a token (with 60 words, about 3 pairs of 1,770 do); texts are cut at ``length``.

    Args:
        text: Any text; punctuation marks are words of their own.
        length: Numbers to return.
        vocabulary: Number of tokens, the 0 that fills up included.

    Returns:
        int64 [length], in 0..vocabulary - 1.
    """
    tokens = np.zeros(length, np.int64)
    for place, word in enumerate(_WORDS.findall(text.lower())[:length]):
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        tokens[place] = 1 + int.from_bytes(digest, "big") % (vocabulary - 1)
    return tokens


def name_leaves(leaves: Sequence[Leaf], names: Names) -> None:
    """Give names to features: ``names`` of the only part, or by part."""
    by_part = names if isinstance(names, Mapping) else {leaves[0].part.name: names} if len(leaves) == 1 else {}
    if not isinstance(names, Mapping) and names and len(leaves) > 1:
        raise GameError(
            f"{len(leaves)} parts are seen, but names are given for one", remedy="give names by part: {part: [names]}"
        )
    for leaf in leaves:
        chosen = tuple(str(name) for name in by_part.get(leaf.part.name, ()))
        if not chosen:
            continue
        wanted = leaf.part.shape[0]
        if len(chosen) != wanted or len(set(chosen)) != wanted or leaf.part.kind == "tokens":
            message = f"{leaf.part.name!r} has {wanted} features, but {len(set(chosen))} different names are given"
            raise GameError(
                message, source=f"names {list(chosen)[:20]}", remedy="name each feature once, in their order"
            )
        leaf.part = ObservationPart(**{**leaf.part.__dict__, "features": chosen})
