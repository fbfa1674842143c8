"""What a checkpoint says about the pictures it was trained on: size, scale, mean and spread of each channel.

``preprocessor_config.json`` is read as the plain JSON that it is: Transformers' own processors need torchvision for
this, and resize in ways that a cache of frames at model size must not depend on. Two things differ on purpose: the
whole frame is resized to the model's size (no centre crop, because a game shows its state at the edges), and averaging
over areas replaces the bicubic filter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from newgameplus.errors import PretrainedModelError

__all__ = ["Preprocessing", "read_preprocessing"]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become a network's input: ``(value * factor - offset - mean) / std``, channel by channel.

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
        factor: What a pixel in 0..255 is multiplied by.
        offset: What is then taken off: 1 for networks that eat -1..1, else 0.
        mean: Mean of each channel, taken off next.
        std: Spread of each channel, divided by last.
        reverse_channels: The network eats blue, green, red.
        assumed: True if the checkpoint says nothing and these are the usual ImageNet values.
    """

    height: int
    width: int
    factor: float
    offset: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    reverse_channels: bool = False
    assumed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Preprocessing:
        """Read the settings back from what :meth:`as_dict` gave."""
        return cls(**{**content, "mean": tuple(content["mean"]), "std": tuple(content["std"])})


def read_preprocessing(
    content: Mapping[str, Any] | None,
    *,
    channels: int,
    default_size: tuple[int, int],
    source: str,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
) -> Preprocessing:
    """Read the fields of ``preprocessor_config.json`` that say what the network eats.

    Args:
        content: The file as JSON; ``None`` if there is none.
        channels: Channels of the network's input, 1 or 3.
        default_size: Height and width to take where the file names none.
        source: The file, for messages.
        mean: Instead of the file's; one number for all channels, or one for each, in a list or a text with commas.
        std: Likewise.

    Raises:
        PretrainedModelError: A field is not what its name says.
    """
    fields = content or {}
    height, width = _size(fields, default_size, source)
    normalized = content is None or bool(fields.get("do_normalize", True))
    rescaled = bool(fields.get("do_rescale", True))
    with_offset = bool(fields.get("offset") or fields.get("rescale_offset"))
    file_mean = fields.get("image_mean", _IMAGENET_MEAN) if normalized else 0.0
    file_std = fields.get("image_std", _IMAGENET_STD) if normalized else 1.0
    return Preprocessing(
        height=height,
        width=width,
        factor=_number(fields.get("rescale_factor", 1 / 255), "rescale_factor", source) if rescaled else 1.0,
        offset=1.0 if rescaled and with_offset else 0.0,
        mean=_per_channel(file_mean if mean is None else mean, channels, "image_mean", source),
        std=_per_channel(file_std if std is None else std, channels, "image_std", source, positive=True),
        reverse_channels=bool(fields.get("do_flip_channel_order", False)) and channels == 3,
        assumed=normalized and "image_mean" not in fields and mean is None,
    )


def _size(fields: Mapping[str, Any], default: tuple[int, int], source: str) -> tuple[int, int]:
    """Return height and width of what the network gets: the crop if one is cut out, else the resized picture."""
    for key, wanted in (("crop_size", "do_center_crop"), ("size", "do_resize")):
        size = fields.get(key)
        if size is None or not fields.get(wanted, True):
            continue
        if isinstance(size, Mapping):
            side = size.get("shortest_edge")
            pair = (size.get("height", side), size.get("width", side))
        elif isinstance(size, (list, tuple)) and len(size) == 2:
            pair = (size[0], size[1])
        else:
            pair = (size, size)
        if pair == (None, None):
            continue
        if not all(isinstance(edge, int) and edge > 0 for edge in pair):
            raise _bad(key, size, "a whole number of pixels, or height and width", source)
        return int(pair[0]), int(pair[1])
    return default


def _per_channel(value: Any, channels: int, key: str, source: str, *, positive: bool = False) -> tuple[float, ...]:
    if isinstance(value, str):  # a recipe's options hold no lists: "0.5, 0.5, 0.5"
        try:
            value = [float(one) for one in value.split(",")]
        except ValueError as error:
            raise _bad(key, value, "numbers with commas between them", source) from error
    values = list(value) if isinstance(value, (list, tuple)) else [value] * channels
    if len(values) == 1:
        values = values * channels
    elif channels == 1 and len(values) == 3:
        values = [sum(_number(one, key, source) for one in values) / 3]
    if len(values) != channels:
        raise _bad(key, value, f"{channels} numbers, one for each channel", source)
    numbers = tuple(_number(one, key, source) for one in values)
    if positive and min(numbers) <= 0:
        raise _bad(key, value, "numbers above 0", source)
    return numbers


def _number(value: Any, key: str, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _bad(key, value, "a number", source)
    return float(value)


def _bad(key: str, value: Any, expected: str, source: str) -> PretrainedModelError:
    return PretrainedModelError(
        f"{key} is {value!r}; expected {expected}", source=source, remedy="correct it in that file"
    )
