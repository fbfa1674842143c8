"""Causal language models from Transformers, such as GPT-2, as tile models: the body is kept, the vocabulary cut down.

Every tile becomes a token that starts as the mean of the word pieces that say what it means ("solid", "enemy"), so that
the body meets words it knows; what is asked of a level is added to each token, silent at first. Only JSON, tokenizer
files and safetensors are read.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.errors import MissingExtraError, PretrainedModelError
from newgameplus.pretrained.checkpoint_folder import find_checkpoint
from newgameplus.pretrained.tile_model import TileFacts, TileModel
from newgameplus.pretrained.tile_network import wish_map
from newgameplus.pretrained.tile_tokens import EDGE_LIMIT, SPECIALS, TileTokens

__all__ = ["TextTileNetwork", "change_text_vocabulary", "load_text_model", "rebuild_text_network"]

FEATURES = 5
"""Numbers that a model is told about one measure; see ``games.conditions``."""
_CONTEXT = 448
_REMEDY = "give a folder of a causal language model such as GPT-2: config.json and model.safetensors"


class _TextCache:
    """The body's own cache, with what a sampler asks of one."""

    def __init__(self, inner: Any, capacity: int) -> None:
        self.inner, self.capacity, self.length = inner, capacity, 0


class TextTileNetwork(nn.Module):
    """A language model's body between embeddings of tiles.

    Args:
        body: The base transformer; takes ``inputs_embeds``.
        config: Its configuration, as plain data.
        tiles: Number of tiles.
        wishes: Features that say what is asked of a level.
    """

    def __init__(self, body: nn.Module, config: Mapping[str, Any], tiles: int, wishes: int) -> None:
        super().__init__()
        self.body, self.config = body, dict(config)
        hidden = _width(config)
        self.tiles = nn.Parameter(torch.randn(SPECIALS + tiles, hidden) * 0.02)
        self.answer = nn.Parameter(torch.randn(tiles, hidden) * 0.02)
        self.bias = nn.Parameter(torch.zeros(tiles))
        self.rows = nn.Embedding(EDGE_LIMIT, hidden)
        self.left = nn.Embedding(EDGE_LIMIT, hidden)
        self.wishes = wish_map(wishes, hidden)
        for silent in (self.rows, self.left, self.wishes):
            nn.init.zeros_(silent.weight)

    @property
    def context(self) -> int:
        """Most tokens that it attends to."""
        return min(_CONTEXT, _places(self.config))

    def forward(
        self, tokens: TileTokens, cache: _TextCache | None = None, own: Tensor | None = None, tables: Any = None
    ) -> Tensor:
        """Predict the tile at every token; see :meth:`TileNetwork.forward`. ``own`` and ``tables`` are not used."""
        del own, tables
        if tokens.previous.shape[1] > (places := _places(self.config)):
            message = f"a line of the level is {tokens.previous.shape[1]} tiles, the model attends to {places}"
            raise PretrainedModelError(message, source="model.start", remedy="start from bundled:tiles")
        entered = self.tiles[tokens.previous] + self.wishes(tokens.wishes)
        # The row that is asked for, counted from the bottom, and the columns that are left.
        entered = entered + self.rows(tokens.place[..., 0]) + self.left(tokens.place[..., 3])
        if cache is None:
            hidden = self.body(inputs_embeds=entered, use_cache=False).last_hidden_state
        else:
            if (taken_back := cache.inner.get_seq_length() - cache.length) > 0:  # to be drawn again
                cache.inner.crop(-taken_back)
            hidden, cache.inner = _continue(self.body, entered, cache.inner)
            cache.length += entered.shape[1]
        logits: Tensor = hidden @ self.answer.T + self.bias
        return logits

    def tables(self) -> None:
        """Return nothing: no work is shared between steps."""

    def new_cache(self, batch: int, least: int = 0) -> _TextCache:  # noqa: ARG002 (the body sees it)
        """Return an empty cache.

        Raises:
            PretrainedModelError: Levels are too high for the model's context.
        """
        if least > self.context:
            message = f"two lines of the level are {least} tiles, the model attends to {self.context}"
            raise PretrainedModelError(message, source="model.start", remedy="start from bundled:tiles")
        return _TextCache(_library_cache(), self.context)

    def vocabulary(self) -> list[Tensor]:
        """Return the parameters that belong to this game's tiles and wishes."""
        return [self.tiles, self.answer, self.bias, self.rows.weight, self.left.weight, self.wishes.weight]

    def blocks(self) -> list[nn.Module]:
        """Return the body's blocks, found by their structure: the longest list of modules in it."""
        lists = [module for module in self.body.modules() if isinstance(module, nn.ModuleList)]
        return list(max(lists, key=lambda modules: len(list(modules)))) if lists else [self.body]

    def description(self) -> dict[str, Any]:
        """Return what is needed to build the network again, as plain data."""
        return {"family": "causal-text", "config": self.config, "wishes": self.wishes.in_features}


def _places(config: Mapping[str, Any]) -> int:
    return int(config.get("n_positions") or config.get("max_position_embeddings") or 512)


def _width(config: Mapping[str, Any]) -> int:
    width = config.get("hidden_size") or config.get("n_embd") or config.get("d_model")
    if not isinstance(width, int):
        raise PretrainedModelError("its width is not told", source="config.json", remedy=_REMEDY)
    return width


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        why = "" if error.name == "transformers" else str(error)
        raise MissingExtraError("transformers", "transformers", why) from error
    return transformers


def _build_body(config: Mapping[str, Any], source: str) -> nn.Module:
    library = _transformers()
    try:
        settings = library.AutoConfig.for_model(**dict(config))
        whole = library.AutoModelForCausalLM.from_config(settings)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"Transformers cannot build this as a causal language model: {error}"
        raise PretrainedModelError(message, source=source, remedy=_REMEDY) from error
    body: nn.Module = whole.base_model
    _check_causal(body.eval(), _width(config), source)
    return body


@torch.no_grad()
def _check_causal(body: nn.Module, width: int, source: str) -> None:
    """Refuse a body that sees what it is to foresee, as BERT's does, or that cannot be decoded with a cache."""
    entered = torch.linspace(-1.0, 1.0, 3 * width).sin().reshape(1, 3, width)
    other = torch.cat([entered[:, :2], -entered[:, 2:]], dim=1)
    cache = _library_cache()
    try:
        full, changed = (body(inputs_embeds=each, use_cache=False).last_hidden_state for each in (entered, other))
        _, cache = _continue(body, entered[:, :2], cache)
        stepwise, _ = _continue(body, entered[:, 2:], cache)
    except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        message = f"this model cannot be run on embeddings with a cache: {error}"
        raise PretrainedModelError(message, source=source, remedy=_REMEDY) from error
    if not torch.allclose(full[:, :2], changed[:, :2], atol=1e-5):
        message = "this is no causal language model: its tokens see those that come after them"
        raise PretrainedModelError(message, source=source, remedy=_REMEDY)
    if not torch.allclose(full[:, 2:], stepwise, atol=1e-3):
        message = "this model's answers with a cache are not those without"
        raise PretrainedModelError(message, source=source, remedy=_REMEDY)


def _continue(body: nn.Module, entered: Tensor, cache: Any) -> tuple[Tensor, Any]:
    """Run a body on what comes after its cache; return hidden states and the cache.

    Transformers 5.24 calls the cache ``cache``, versions before ``past_key_values``.
    """
    name = "cache" if "cache" in inspect.signature(body.forward).parameters else "past_key_values"
    told = body(inputs_embeds=entered, use_cache=True, **{name: cache})
    hidden: Tensor = told.last_hidden_state
    return hidden, getattr(told, name)


def _library_cache() -> Any:
    from transformers import DynamicCache

    return DynamicCache()


def load_text_model(name: str, *, fresh: bool = False, revision: str | None = None) -> TileModel:
    """Load a causal language model from a folder or the hub; its tiles are given by :func:`change_text_vocabulary`.

    Args:
        name: Folder, or name on the hub.
        fresh: Keep the architecture but start from random weights.
        revision: Branch, tag or commit on the hub.

    Raises:
        MissingExtraError: Transformers is not installed.
        PretrainedModelError: The checkpoint is missing, damaged, pickled, or no causal language model.
    """
    library = _transformers()
    folder = find_checkpoint(name, revision=revision, weights_needed=not fresh)
    source = str(folder.path / "config.json")
    library.utils.logging.disable_progress_bar()
    body = _build_body(folder.config, source)
    if not fresh:
        from safetensors import SafetensorError

        try:
            whole = library.AutoModelForCausalLM.from_pretrained(
                folder.path, use_safetensors=True, local_files_only=True, dtype=torch.float32
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            message = f"the weights cannot be loaded: {error}"
            raise PretrainedModelError(message, source=str(folder.path), remedy=_REMEDY) from error
        body = whole.base_model
    network = TextTileNetwork(body, folder.config, 1, 1)  # of no use before it is given tiles
    facts = {
        "license": folder.license,
        "description": f"causal language model from {name}",
        "revision": folder.revision,
    }
    model = TileModel(f"transformers:{name}", network.eval(), (), (), (), facts)
    network.words = None if fresh else _words(folder.path, body)  # type: ignore[assignment]
    return model


def _words(folder: Path, body: nn.Module) -> Any:
    """Return a function from a word to the mean of its pieces' embeddings, or None without a tokenizer."""
    library = _transformers()
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "tokenizer.model")):
        return None
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError):
        return None
    table: Tensor = body.get_input_embeddings().weight.detach()  # type: ignore[operator]

    def embed(word: str) -> Tensor | None:
        pieces = [piece for piece in tokenizer.encode(f" {word}", add_special_tokens=False) if piece < len(table)]
        return table[pieces].mean(dim=0) if pieces else None

    return embed


def change_text_vocabulary(
    model: TileModel, tiles: Sequence[TileFacts], measures: Sequence[str]
) -> tuple[TileModel, list[str]]:
    """Return a model for other tiles and measures, and the words that each tile starts from.

    Tiles that the model knows by name keep their weights; others start from the words of their meanings, or, without a
    tokenizer, from the mean of the vocabulary with a little noise. The body is copied without its text vocabulary,
    which nothing asks for any more.
    """
    old = model.network
    if not isinstance(old, TextTileNetwork):
        raise TypeError("a text network is needed")
    words = getattr(old, "words", None)
    embeddings = old.body.get_input_embeddings()  # type: ignore[operator]
    table: Tensor = embeddings.weight.detach()
    body = copy.deepcopy(old.body, {id(embeddings): _one_word(table)})
    network = TextTileNetwork(body, old.config, len(tiles), len(measures) * FEATURES)
    mean, spread = table.mean(dim=0), float(table.std()) * 0.5
    known = {tile.name: number for number, tile in enumerate(model.tiles)}
    starts = []
    with torch.no_grad():
        for number, tile in enumerate(tiles):
            if tile.name in known:
                network.tiles[SPECIALS + number] = old.tiles[SPECIALS + known[tile.name]]
                network.answer[number] = old.answer[known[tile.name]]
                network.bias[number] = old.bias[known[tile.name]]
                starts.append(tile.name)
                continue
            said = [meaning.replace("-", " ").replace(":", " ") for meaning in tile.meanings] if words else []
            found = [vector for vector in (words(word) for word in said) if vector is not None] if words else []
            start = torch.stack(found).mean(dim=0) if found else mean
            start = start + torch.randn_like(start) * spread * 0.2
            network.tiles[SPECIALS + number] = start
            network.answer[number] = start
            starts.append(" + ".join(said) if found else "")
        for place, name in enumerate(measures):
            if name in model.measures:
                begin = model.measures.index(name) * FEATURES
                columns = old.wishes.weight[:, begin : begin + FEATURES]
                network.wishes.weight[:, place * FEATURES : (place + 1) * FEATURES] = columns
        if model.tiles:
            network.tiles[:SPECIALS] = old.tiles[:SPECIALS]
            network.rows.load_state_dict(old.rows.state_dict())
            network.left.load_state_dict(old.left.state_dict())
    facts = dict(model.facts)
    return TileModel(model.name, network.eval(), tuple(tiles), tuple(measures), model.meanings, facts), starts


def rebuild_text_network(
    content: Mapping[str, Any], tiles: Sequence[TileFacts], meanings: Sequence[str]
) -> TextTileNetwork:
    """Build the network that a description describes, with random weights."""
    del meanings
    body = _build_body(content["config"], "card.json")
    body.set_input_embeddings(_one_word(torch.zeros(1, _width(content["config"]))))  # type: ignore[operator]
    return TextTileNetwork(body, content["config"], len(tiles), content["wishes"])


def _one_word(table: Tensor) -> nn.Embedding:
    """Return an embedding of a single word, the mean of a vocabulary: libraries do not like models without any."""
    return nn.Embedding(1, table.shape[1], _weight=table.mean(dim=0, keepdim=True))
