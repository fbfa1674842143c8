"""What a Stable-Baselines3 archive holds, as plain data: tensors, spaces and settings; nothing in it is unpickled.

Such an archive holds ``data`` (JSON) and ``policy.pth`` (torch). Whatever JSON cannot say stands in ``data`` twice: as
a pickle in base64 (``:serialized:``), which is never decoded here, and as printed attributes, which are read as text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.torch_file import check_finite, open_zip, read_member, read_torch

__all__ = ["Sb3File", "Sb3Space", "read_sb3"]

SpaceKind = Literal["box", "discrete", "multi-discrete", "multi-binary", "dict"]
_KINDS: dict[str, SpaceKind] = {
    "Box": "box",
    "Discrete": "discrete",
    "MultiDiscrete": "multi-discrete",
    "MultiBinary": "multi-binary",
    "Dict": "dict",
}
_MOST_DATA = 512 << 20
_AGAIN = "save it again with model.save(...) of Stable-Baselines3"


@dataclass(frozen=True)
class Sb3Space:
    """A space as Stable-Baselines3 printed it.

    Attributes:
        kind: Of space.
        shape: Of a box (images channels first, as the networks take them).
        dtype: Of a box.
        sizes: discrete: (n,); multi-discrete: choices of each; multi-binary: (buttons,).
        low: Bounds of a box, one for each number, or one for all; empty if they were not printed whole.
        high: Likewise.
        parts: Of a dictionary, in the order in which its features are put together.
    """

    kind: SpaceKind
    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    sizes: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    parts: tuple[tuple[str, Sb3Space], ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether Stable-Baselines3 takes it for a picture, and divides by 255 unless told otherwise."""
        bounds = set(self.low) == {0.0} and set(self.high) == {255.0}
        return self.kind == "box" and len(self.shape) == 3 and self.dtype == "uint8" and bounds

    @property
    def width(self) -> int:
        """Numbers that a network sees, one-hot and flattened."""
        return math.prod(self.shape) if self.kind == "box" else sum(self.sizes)


@dataclass(frozen=True, eq=False)
class Sb3File:
    """An archive.

    Attributes:
        tensors: Of the policy, by name.
        observations: What the policy saw.
        actions: What it did.
        policy_class: Module of its policy class; empty if it was not printed.
        settings: ``policy_kwargs``, with values as printed.
        data: All other settings that are plain JSON.
        version: Of Stable-Baselines3.
    """

    tensors: Mapping[str, Tensor]
    observations: Sb3Space
    actions: Sb3Space
    policy_class: str
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    version: str

    def flag(self, name: str, default: bool) -> bool:
        """Return a setting of the policy that is true or false."""
        return str(self.settings.get(name, default)).strip() == "True"

    def class_name(self, name: str) -> str:
        """Return the name of a class in the settings of the policy, without its module; empty if it is not set."""
        value = self.settings.get(name)
        if value in (None, "None"):
            return ""
        found = re.search(r"([\w.]+)'?>?\s*$", str(value))
        return found.group(1).rpartition(".")[2] if found else str(value)[:60]


def read_sb3(path: Path) -> Sb3File:
    """Read an archive.

    Raises:
        PretrainedModelError: It is missing, damaged, of another library, or holds more than weights for weights.
    """
    source = str(path)
    if not path.is_file():
        near = sorted(str(other) for other in path.parent.glob("*.zip"))[:10] if path.parent.is_dir() else []
        remedy = f"archives there: {', '.join(near)}" if near else "give the path of what model.save(...) wrote"
        raise PretrainedModelError("there is no such file", source=source, remedy=remedy)
    with open_zip(path, source, "give the .zip that model.save(...) of Stable-Baselines3 wrote, whole") as archive:
        names = set(archive.namelist())
        if "policy.pth" not in names and {"parameters", "parameter_list"} & names:
            message = "this is of Stable Baselines 2 (TensorFlow), whose weights this cannot read"
            raise PretrainedModelError(message, source=source, remedy="train it again with Stable-Baselines3")
        content = read_member(archive, "data", source, _AGAIN, _MOST_DATA)
        weights = read_member(archive, "policy.pth", source, _AGAIN)
        version = ""
        if "_stable_baselines3_version" in names:
            version = read_member(archive, "_stable_baselines3_version", source, _AGAIN, 1 << 10).decode(
                "utf-8", "replace"
            )
    data = _read_data(content, source)
    tensors = read_torch(weights, f"{source}!policy.pth")
    if not isinstance(tensors, Mapping):
        raise PretrainedModelError("policy.pth holds no weights by name", source=source, remedy=_AGAIN)
    settings = data.get("policy_kwargs")
    owner = data.get("policy_class")
    return Sb3File(
        tensors=check_finite(tensors, f"{source}!policy.pth"),
        observations=_read_space(data.get("observation_space"), "observation_space", source),
        actions=_read_space(data.get("action_space"), "action_space", source),
        policy_class=str(owner.get("__module__", "")) if isinstance(owner, dict) else "",
        settings=settings if isinstance(settings, dict) else {},
        data={key: value for key, value in data.items() if isinstance(value, bool | int | float | str)},
        version=version.strip()[:40],
    )


def _read_data(content: bytes, source: str) -> dict[str, Any]:
    try:
        data = json.loads(content)
        if not isinstance(data, dict):
            raise ValueError("no mapping")
    except (ValueError, RecursionError) as error:
        message = f"'data' is no JSON of Stable-Baselines3 ({str(error)[:100]})"
        raise PretrainedModelError(message, source=source, remedy=_AGAIN) from error
    return data


def _read_space(content: Any, key: str, source: str) -> Sb3Space:
    """Read a space from the attributes that stand beside its pickle."""
    try:
        kind = _KINDS[re.findall(r"(\w+)'>", str(content[":type:"]))[-1]]
        if kind == "dict":
            return Sb3Space("dict", parts=_read_parts(str(content["spaces"])))
        if kind == "box":
            shape = _whole_numbers(content.get("_shape", content.get("shape")))
            low, high = (_numbers(content.get(bound, "")) for bound in ("low", "high"))
            return Sb3Space(kind, shape, str(content.get("dtype", "float32")), low=low, high=high)
        sizes = _whole_numbers(content["nvec" if kind == "multi-discrete" else "n"])
        return Sb3Space(kind, sizes=(math.prod(sizes),) if kind == "multi-binary" else sizes)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        shown = content.get(":type:", content) if isinstance(content, dict) else content
        raise PretrainedModelError(
            f"{key} cannot be read from what is printed in 'data' ({str(shown)[:80]}: {error})",
            source=source,
            remedy=f"known: Box, Discrete, MultiDiscrete, MultiBinary and Dict of these; {_AGAIN} of a newer version",
        ) from error


def _read_parts(text: str) -> tuple[tuple[str, Sb3Space], ...]:
    """Read ``{'a': Discrete(4), 'b': Box(0, 255, (3, 4, 4), uint8)}`` and the spellings of older versions."""
    parts: list[tuple[str, Sb3Space]] = []
    place = 0
    head = re.compile(r"""(['"])(?P<name>(?:(?!\1).)*)\1\s*[:,]\s*(?P<kind>[A-Za-z]+)\(""", re.DOTALL)
    while found := head.search(text, place):
        start = place = found.end()
        depth = 1
        while depth and place < len(text):
            depth += {"(": 1, ")": -1}.get(text[place], 0)
            place += 1
        parts.append((found["name"], _read_printed(found["kind"], text[start : place - 1])))
    if not parts:
        raise ValueError("no parts")
    return tuple(parts)


def _read_printed(kind: str, body: str) -> Sb3Space:
    known = _KINDS[kind]
    if known == "dict":
        raise ValueError("a dictionary in a dictionary")
    if known != "box":
        sizes = _whole_numbers(body.partition("start")[0])
        return Sb3Space(known, sizes=(math.prod(sizes),) if known == "multi-binary" else sizes)
    found = re.search(r"^(?P<bounds>.*),\s*\((?P<shape>[\d,\s]*)\),\s*(?P<dtype>\w+)\s*$", body, re.DOTALL)
    if found is None:
        raise ValueError(f"Box({body[:40]})")
    # Bounds that are alike for all numbers print as two numbers, others as two lists.
    bounds = re.match(r"^\s*(\[.*?\]|[^,\[]+),\s*(\[.*\]|[^,\[]+)$", found["bounds"], re.DOTALL)
    low, high = (_numbers(bounds[1]), _numbers(bounds[2])) if bounds else ((), ())
    return Sb3Space("box", _whole_numbers(found["shape"]), found["dtype"], low=low, high=high)


def _whole_numbers(value: Any) -> tuple[int, ...]:
    text = str(value)
    if "..." in text or value is None or re.search(r"[^\d\s,()\[\]\n]", text):
        raise ValueError(f"{text[:40]!r}")
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _numbers(value: Any) -> tuple[float, ...]:
    """Read numbers; of a list that was cut short, one if those shown are all alike, else none."""
    text = str(value)
    found = tuple(float(number) for number in re.findall(r"-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf)", text))
    if len(set(found)) == 1:
        return found[:1]
    return () if "..." in text else found
