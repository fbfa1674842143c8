"""Everything that can be started from, for all scenarios, as rows of plain data that filters work on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from newgameplus.errors import NewGamePlusError, PretrainedModelError
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import describe_pretrained, list_models
from newgameplus.pretrained.licences import caution, forbidden
from newgameplus.pretrained.local import is_here, local_models
from newgameplus.pretrained.memory import bytes_to_load, bytes_to_train
from newgameplus.pretrained.policy_bundled import list_policies
from newgameplus.pretrained.tile_model import list_tile_models

__all__ = ["filter_models", "find_model", "list_startable", "parse_count"]

_TASKS = {"tiles": "scene", "policy": "agent"}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


def list_startable(runs: str | Path | None = None) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return a row for every model that can be listed, and what was found and cannot be used.

    Args:
        runs: Folder of run folders, in which own pretraining counts.

    Returns:
        Rows, each the model's card with ``source``, ``task``, ``input``, ``bytes_to_load``, ``bytes_to_train`` (all
        weights), ``bytes_to_probe`` and ``here`` beside it; and names with messages.
    """
    cards = {card.name: card for card in list_models()}
    left_out = []
    for name in local_models(runs):
        if name in cards:
            continue
        try:
            cards[name] = describe_pretrained(name)
        except NewGamePlusError as error:
            left_out.append({"name": name, "message": error.message, "remedy": error.remedy})
    rows = [_card_row(card) for card in cards.values()]
    rows += [_plain_row(content) for content in [*list_tile_models(), *list_policies()]]
    return rows, left_out


def find_model(name: str) -> dict[str, Any]:
    """Return the row of one model, listed or not.

    Raises:
        PretrainedModelError: There is no such model.
    """
    for content in [*list_tile_models(), *list_policies()]:
        if content["name"] == name:
            return _plain_row(content)
    return _card_row(describe_pretrained(name))


def filter_models(
    rows: list[dict[str, Any]],
    *,
    family: str | None = None,
    source: str | None = None,
    task: str | None = None,
    license: str | None = None,  # noqa: A002 - the word that cards use
    max_parameters: int | str | None = None,
    use: str = "any",
    here: bool = False,
) -> list[dict[str, Any]]:
    """Return the rows that fit all filters.

    Args:
        rows: As :func:`list_startable` gives them.
        family: Part of the family's name.
        source: The source.
        task: ``behavior``, ``scene`` or ``agent``.
        license: Part of the licence's name.
        max_parameters: Most weights, as a number or as ``5M``.
        use: ``any``, ``research`` or ``commercial``: what a licence forbids is left out.
        here: Only what is on this machine.

    Raises:
        PretrainedModelError: ``max_parameters`` is no number.
    """
    most = None if max_parameters is None else parse_count(max_parameters)
    filters: list[Callable[[Mapping[str, Any]], bool]] = [
        lambda row: family is None or family.casefold() in row["family"].casefold(),
        lambda row: source is None or row["source"] == source.casefold(),
        lambda row: task is None or row["task"] == task,
        lambda row: license is None or license.casefold() in row["license"].casefold(),
        lambda row: most is None or row["parameters"] <= most,
        lambda row: forbidden(row["license"], use) is None,
        lambda row: not here or row["here"],
    ]
    return [row for row in rows if all(fits(row) for fits in filters)]


def parse_count(text: int | str) -> int:
    """Read a number of weights such as ``5000000``, ``5M`` or ``1.5G``.

    Raises:
        PretrainedModelError: It is none.
    """
    match = re.fullmatch(r"\s*([\d_,]*\.?\d+)\s*([kmgb]?)\s*", str(text).casefold())
    if match is None:
        remedy = "write it as 5000000, 5M or 1.5G"
        raise PretrainedModelError(f"{text!r} is no number of weights", source="--max-parameters", remedy=remedy)
    return int(float(re.sub("[_,]", "", match[1])) * _UNITS[match[2]])


def _card_row(card: ModelCard) -> dict[str, Any]:
    found = {"source": card.name.partition(":")[0], "task": "behavior", "input": _input(card.shape)}
    return card.as_dict() | found | _costs(card) | {"here": is_here(card)} | _caution(card.license)


def _plain_row(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a tile model or a policy, which come with the package."""
    modality, license_ = str(content["modality"]), str(content.get("license") or "unknown")
    card = ModelCard(str(content["name"]), modality, modality, int(content["parameters"]), 0, None, license_)
    eats = f"{content['tiles']} tiles" if "tiles" in content else str(content.get("environment", ""))
    found = {"family": modality, "license": license_, "task": _TASKS[modality], "input": eats, "here": True}
    return dict(content) | found | {"source": "bundled"} | _costs(card) | _caution(license_)


def _costs(card: ModelCard) -> dict[str, int]:
    return {
        "bytes_to_load": bytes_to_load(card),
        "bytes_to_train": bytes_to_train(card),
        "bytes_to_probe": bytes_to_train(card, "probe"),
    }


def _caution(license_: str) -> dict[str, str]:
    return {"caution": caution(license_, "commercial") or ""}


def _input(shape: Any) -> str:
    if shape is None:
        return ""
    if hasattr(shape, "steps"):
        return f"{shape.steps} steps"
    return f"{shape.frames}x{shape.height}x{shape.width}x{shape.channels}"
