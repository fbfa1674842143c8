"""Tile models on disk: what was saved comes back, and what is damaged is told with a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_backbone import same_weights
from tests.small_tiles import FACTS, KINDS, batch_of, logits_of, random_scan, random_wishes, small_model

from newgameplus.errors import NewGamePlusError, PretrainedModelError, RunError
from newgameplus.pretrained.tile_model import (
    TileFacts,
    list_tile_models,
    load_start,
    load_tile_model,
    meaning_table,
    save_tile_model,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tile_model(tmp_path / "model", small_model(), {"arm": "fine-tuned"})
    return tmp_path / "model"


def test_what_was_saved_comes_back(folder: Path) -> None:
    model = small_model()
    kept, card = load_tile_model(folder)
    assert same_weights(kept.network, model.network)
    assert not kept.network.training
    assert (kept.name, kept.tiles, kept.measures, kept.meanings, kept.facts) == (
        model.name, model.tiles, model.measures, model.meanings, model.facts,
    )  # fmt: skip
    assert (card["arm"], card["schema"], card["parameters"]) == ("fine-tuned", 1, model.parameters)


def test_habits_and_tiles_without_meanings_come_back(tmp_path: Path) -> None:
    tiles = (TileFacts("a", ("key:red", "solid"), tuple(n / 12 for n in range(12))), TileFacts("b", ()))
    save_tile_model(tmp_path, small_model(tiles=tiles))
    assert load_tile_model(tmp_path)[0].tiles == tiles


def test_half_precision_takes_half_the_room_and_changes_little(tmp_path: Path) -> None:
    model = small_model()
    for half in (False, True):
        save_tile_model(tmp_path / str(half), model, half=half)
    sizes = [(tmp_path / str(half) / "model.safetensors").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.65 * sizes[0]
    kept = load_tile_model(tmp_path / "True")[0]
    assert all(parameter.dtype == torch.float32 for parameter in kept.network.parameters())
    rng = np.random.default_rng(0)
    tokens = batch_of([random_scan(rng, 6, 5)], [random_wishes(rng, 6)])
    assert torch.allclose(logits_of(kept, tokens), logits_of(model, tokens), atol=0.05)


def test_a_fresh_one_has_the_shape_but_other_weights(folder: Path) -> None:
    kept = load_tile_model(folder)[0]
    torch.manual_seed(1)
    fresh = load_tile_model(folder, fresh=True)[0]
    torch.manual_seed(1)
    again = load_tile_model(folder, fresh=True)[0]
    assert fresh.tiles == kept.tiles
    assert same_weights(fresh.network, again.network)
    assert not torch.equal(fresh.network.own, kept.network.own)  # type: ignore[arg-type]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


def other_weights(folder: Path) -> None:
    save_tile_model(folder.with_name("other"), small_model(seed=5))
    (folder.with_name("other") / "model.safetensors").replace(folder / "model.safetensors")


def flipped(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "model.safetensors").write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no card": lambda f: (f / "card.json").unlink(),
    "half a card": lambda f: (f / "card.json").write_text((f / "card.json").read_text()[:200]),
    "a list for a card": lambda f: (f / "card.json").write_text("[1, 2]"),
    "a binary card": lambda f: (f / "card.json").write_bytes(b"\xff\xfe\x00\x01"),
    "an endless card": lambda f: (f / "card.json").write_text("[" * 100_000),
    "no tiles": lambda f: edit(f, lambda card: card.pop("tiles")),
    "tiles of numbers": lambda f: edit(f, lambda card: card.update(tiles=[1, 2])),
    "meanings of numbers": lambda f: edit(f, lambda card: card["tiles"][0].update(meanings=[1])),
    "no network": lambda f: edit(f, lambda card: card.update(network=None)),
    "another family": lambda f: edit(f, lambda card: card["network"].update(family="magic")),
    "a shape with more": lambda f: edit(f, lambda card: card["network"]["shape"].update(depth=3)),
    "a shape below zero": lambda f: edit(f, lambda card: card["network"]["shape"].update(width=-8)),
    "another shape": lambda f: edit(f, lambda card: card["network"]["shape"].update(width=32)),
    "a tile less": lambda f: edit(f, lambda card: card["tiles"].pop()),
    "no digest": lambda f: edit(f, lambda card: card.pop("digest")),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "half the weights": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:900]),
    "one bit of the weights": flipped,
    "weights of another model": other_weights,
}


@pytest.mark.parametrize("damage", list(DAMAGE))
@pytest.mark.parametrize("error", [RunError, PretrainedModelError])
def test_damage_is_told_with_a_remedy(folder: Path, damage: str, error: type[NewGamePlusError]) -> None:
    DAMAGE[damage](folder)
    with pytest.raises(error) as caught:
        load_tile_model(folder, error=error)
    assert str(folder) in str(caught.value)
    assert ("fit again" if error is RunError else "install") in str(caught.value)


@pytest.mark.parametrize(
    "name", ["bundled:nothing", "bundled:", "tiles", "", "clips:tiles", "transformers:", "bundled:doom-clips"]
)
def test_an_unknown_model_is_told_with_what_there_is(name: str) -> None:
    with pytest.raises(PretrainedModelError, match=r"no tile model.*\n.*bundled:tiles"):
        load_start(name)


def test_unknown_options_are_told() -> None:
    with pytest.raises(PretrainedModelError, match=r"no option.*\n.*revision|option 'frames'"):
        load_start("bundled:tiles", options={"frames": 3})


def test_the_bundled_model_loads_and_is_small() -> None:
    model = load_start("bundled:tiles")
    assert model.tiles
    assert model.facts["license"]
    assert 2 * model.parameters <= 10 * 2**20  # bytes, in half precision
    assert all({meaning.partition(":")[0] for meaning in tile.meanings} <= set(model.meanings) for tile in model.tiles)


def test_kinds_of_keys_count_as_keys() -> None:
    table = meaning_table((TileFacts("k", ("key:red",)), TileFacts("?", ()), *FACTS), KINDS)
    assert table.shape == (2 + len(FACTS), len(KINDS))
    assert table[0].tolist() == [float(kind == "key") for kind in KINDS]
    assert table[1].sum() == 0
    assert meaning_table((), KINDS).shape == (0, len(KINDS))


def test_bundled_tile_models_are_listed_without_loading_them() -> None:
    listed = {model["name"]: model for model in list_tile_models()}
    loaded = load_start("bundled:tiles")
    card = listed["bundled:tiles"]
    assert card["parameters"] == loaded.parameters
    assert card["tiles"] == len(loaded.tiles)
    assert card["license"] == "Apache-2.0"
    assert card["description"]
