"""A tile model: a network that predicts tiles, with the facts that say what its numbers stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from newgameplus.errors import NewGamePlusError, PretrainedModelError, Problem, RunError, raise_problems
from newgameplus.files import digest_file, write_json
from newgameplus.pretrained.tile_network import TileNetwork, TileNetworkShape
from newgameplus.pretrained.tile_tokens import TileTokens
from newgameplus.tensors import load_tensors, save_tensors

__all__ = ["TileFacts", "TileModel", "TilePredictor", "list_tile_models", "load_tile_model", "save_tile_model"]

CARD, WEIGHTS = "card.json", "model.safetensors"
_OPTIONS = ("revision",)


class TilePredictor(Protocol):
    """What every network over tiles offers, wherever its weights come from."""

    def __call__(self, tokens: TileTokens, cache: Any = None, own: Tensor | None = None, tables: Any = None) -> Tensor:
        """Return logits [batch, tokens, tiles]; see :meth:`TileNetwork.forward`."""
        ...

    def tables(self) -> Any:
        """Return what is the same in every step of a decoding."""
        ...

    def new_cache(self, batch: int, least: int = 0) -> Any:
        """Return an empty cache, with ``length`` and ``capacity``."""
        ...

    def vocabulary(self) -> list[Tensor]:
        """Return the parameters that belong to one game."""
        ...


@dataclass(frozen=True)
class TileFacts:
    """One tile as a model knows it.

    Attributes:
        name: What its maker calls it.
        meanings: What it means.
        habits: float: how often, on each of its four sides (up, down, left, right), the same tile, a solid one and an
            empty one stands: 12 shares.
    """

    name: str
    meanings: tuple[str, ...]
    habits: tuple[float, ...] = ()


@dataclass
class TileModel:
    """A network with its vocabulary.

    Attributes:
        name: Where it came from, e.g. ``bundled:tiles``.
        network: Predicts tiles.
        tiles: What its outputs stand for, in order.
        measures: What can be asked of it, in the order of its wishes.
        facts: Anything else: licence, description, training.
    """

    name: str
    network: nn.Module
    tiles: tuple[TileFacts, ...]
    measures: tuple[str, ...]
    meanings: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def description(self) -> dict[str, Any]:
        """Return everything but the weights, as plain data."""
        tiles = [{"name": t.name, "meanings": list(t.meanings), "habits": list(t.habits)} for t in self.tiles]
        return {
            "name": self.name,
            "network": self.network.description(),  # type: ignore[operator]
            "tiles": tiles,
            "measures": list(self.measures),
            "meanings": list(self.meanings),
            "parameters": self.parameters,
            "facts": self.facts,
        }


def meaning_table(tiles: tuple[TileFacts, ...], meanings: tuple[str, ...]) -> Tensor:
    """Return float32 [tiles, meanings]: 1 where a tile means it; ``key:red`` counts as ``key``."""
    kinds = [{meaning.partition(":")[0] for meaning in tile.meanings} for tile in tiles]
    table = torch.tensor([[float(meaning in kind) for meaning in meanings] for kind in kinds])
    return table.reshape(len(tiles), len(meanings))


def _decoder(content: Mapping[str, Any], tiles: tuple[TileFacts, ...], meanings: tuple[str, ...]) -> nn.Module:
    return TileNetwork(TileNetworkShape(**content["shape"]), meaning_table(tiles, meanings))


def _text(content: Mapping[str, Any], tiles: tuple[TileFacts, ...], meanings: tuple[str, ...]) -> nn.Module:
    from newgameplus.pretrained.text_tiles import rebuild_text_network

    return rebuild_text_network(content, tiles, meanings)


#: How to build each family of networks from its description, with random weights.
FAMILIES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType({"tile-decoder": _decoder, "causal-text": _text})


def save_tile_model(
    folder: Path, model: TileModel, extra: Mapping[str, Any] | None = None, *, half: bool = False
) -> None:
    """Write ``model.safetensors`` and ``card.json``.

    Args:
        folder: Where to write.
        model: The model.
        extra: More plain data for the card.
        half: Keep the weights as float16, for models that are shipped.
    """
    tensors = {
        name: value.half() if half and value.is_floating_point() else value
        for name, value in model.network.state_dict().items()
    }
    save_tensors(folder / WEIGHTS, tensors)
    content = {"schema": 1, "scenario": "scene", "digest": digest_file(folder / WEIGHTS)}
    write_json(folder / CARD, content | model.description() | dict(extra or {}))


def load_tile_model(
    folder: Path, *, error: type[NewGamePlusError] = RunError, fresh: bool = False
) -> tuple[TileModel, dict[str, Any]]:
    """Load what :func:`save_tile_model` wrote, checking its digest.

    Args:
        folder: Where it lies.
        error: What to raise when it is missing or damaged.
        fresh: Keep random weights (from torch's global random state).

    Returns:
        The model, in evaluation mode, and the card's content.
    """
    of_run = "finish the run first (ngp resume), restore it from a copy, or fit again"
    remedy = of_run if error is RunError else "install New Game+ again: its files are damaged"
    try:
        content = json.loads((folder / CARD).read_text(encoding="utf-8"))
        tiles = tuple(TileFacts(t["name"], tuple(t["meanings"]), tuple(t["habits"])) for t in content["tiles"])
        meanings, measures = tuple(content["meanings"]), tuple(content["measures"])
        network = FAMILIES[content["network"]["family"]](content["network"], tiles, meanings)
        model = TileModel(content["name"], network.eval(), tiles, measures, meanings, dict(content["facts"]))
        digest = content["digest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as reason:
        message = f"cannot read the model: {reason!r}" if isinstance(reason, KeyError) else f"cannot read: {reason}"
        raise error(message, source=str(folder / CARD), remedy=remedy) from reason
    if fresh:
        return model, content
    if not (folder / WEIGHTS).is_file() or digest_file(folder / WEIGHTS) != digest:
        message = "the weights are missing or not those of the card"
        raise error(message, source=str(folder / WEIGHTS), remedy=remedy)
    tensors, _ = load_tensors(folder / WEIGHTS, error)
    try:
        network.load_state_dict({name: value.to(torch.float32) for name, value in tensors.items()})
    except RuntimeError as reason:
        message = f"the weights do not fit the card: {reason}"
        raise error(message, source=str(folder / WEIGHTS), remedy=remedy) from reason
    return model, content


def list_tile_models() -> list[dict[str, Any]]:
    """Return what is known of the tile models that come with the package, as plain data.

    Raises:
        PretrainedModelError: A card is damaged.
    """
    found = []
    for path in sorted(Path(__file__).with_name("weights").glob(f"*/{CARD}")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            facts = content["facts"]
            about = {"license": facts["license"], "description": facts["description"], "tiles": len(content["tiles"])}
            same = ("name", "parameters", "digest", "measures", "meanings")
            found.append({key: content[key] for key in same} | {"modality": "tiles"} | about)
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "install New Game+ again: its files are damaged"
            raise PretrainedModelError(f"this card is damaged ({error})", source=str(path), remedy=remedy) from error
    return found


def load_start(name: str, *, fresh: bool = False, options: Mapping[str, Any] | None = None) -> TileModel:
    """Load a pretrained tile model by its full name.

    Args:
        name: ``bundled:tiles``, ``transformers:FOLDER`` for a causal language model such as GPT-2, or ``run:FOLDER``
            for a finished run or what ``ngp pretrain`` made.
        fresh: Keep the architecture but start from random weights.
        options: Options of the source: ``revision`` for a model on the hub.

    Raises:
        PretrainedModelError: There is no such model or option, or it cannot be loaded.
    """
    source, _, rest = name.partition(":")
    problems = [
        Problem(f"no source of tile models has an option {key!r}", "model.options", f"known: {', '.join(_OPTIONS)}")
        for key in options or {}
        if key not in _OPTIONS
    ]
    raise_problems(problems, PretrainedModelError, f"{len(problems)} options are not known")
    if source == "transformers" and rest:
        from newgameplus.pretrained.text_tiles import load_text_model

        return load_text_model(rest, fresh=fresh, **dict(options or {}))
    if source == "run" and rest:
        return _load_run(rest, fresh=fresh)
    folder = Path(__file__).with_name("weights") / rest
    if source != "bundled" or not (folder / CARD).is_file():
        remedy = "scenes start from bundled:tiles, run:FOLDER, or transformers:FOLDER with a model such as GPT-2"
        raise PretrainedModelError(f"no tile model is called {name!r}", source="model.start", remedy=remedy)
    return load_tile_model(folder, error=PretrainedModelError, fresh=fresh)[0]


def _load_run(name: str, *, fresh: bool) -> TileModel:
    """Load the tile model of a finished run, or of a pretraining; its name is then the folder's."""
    from newgameplus.pretrained.run import model_folder

    folder = model_folder(name)
    try:
        content = json.loads((folder / CARD).read_text(encoding="utf-8"))
        of_scenes = content.get("scenario") == "scene"
    except (OSError, ValueError, AttributeError) as error:
        remedy = "restore it from a copy, or fit again"
        raise PretrainedModelError(
            f"this card is damaged ({error})", source=str(folder / CARD), remedy=remedy
        ) from error
    if not of_scenes:
        remedy = "name a run of ngp fit on maps, or what ngp pretrain made of maps"
        raise PretrainedModelError("this is no model of the scene scenario", source=str(folder / CARD), remedy=remedy)
    model = load_tile_model(folder, error=PretrainedModelError, fresh=fresh)[0]
    model.name = f"run:{name}"
    return model
