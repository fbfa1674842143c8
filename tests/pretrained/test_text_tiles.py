"""Causal language models as tile models: the body is theirs, the vocabulary is the game's."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_backbone import same_weights
from tests.small_tiles import (
    FACTS,
    MEASURES,
    WORDS,
    batch_of,
    cut_tokens,
    logits_of,
    random_scan,
    random_wishes,
    save_gpt2,
    small_model,
)

from newgameplus.adapt.vocabulary import change_vocabulary
from newgameplus.errors import MissingExtraError, PretrainedModelError
from newgameplus.pretrained.text_tiles import change_text_vocabulary, load_text_model
from newgameplus.pretrained.tile_model import TileFacts, TileModel, load_start, load_tile_model, save_tile_model
from newgameplus.pretrained.tile_tokens import SPECIALS, TileTokens

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2"), tokenizer=True)


@pytest.fixture
def start(folder: Path) -> TileModel:
    return load_start(f"transformers:{folder}")


@pytest.fixture
def tokens() -> TileTokens:
    rng = np.random.default_rng(1)
    return batch_of([random_scan(rng, 5, 4)], [random_wishes(rng, 5)])


def test_the_body_is_that_of_the_checkpoint(folder: Path, start: TileModel) -> None:
    model, _ = change_text_vocabulary(start, FACTS, MEASURES)
    original = transformers.GPT2LMHeadModel.from_pretrained(folder).eval().transformer
    entered = torch.randn(1, 7, 16)
    with torch.no_grad():
        expected = original(inputs_embeds=entered).last_hidden_state
        found = model.network.body(inputs_embeds=entered).last_hidden_state  # type: ignore[operator, union-attr]
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_text_vocabulary_is_cut_down_and_the_start_kept_whole(start: TileModel) -> None:
    before = {name: value.clone() for name, value in start.network.state_dict().items()}
    model, _ = change_text_vocabulary(start, FACTS, MEASURES)
    assert model.network.body.get_input_embeddings().weight.shape == (1, 16)  # type: ignore[operator, union-attr]
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in start.network.state_dict().items())


def test_tiles_start_from_the_words_of_their_meanings(folder: Path, start: TileModel) -> None:
    tiles = (TileFacts("#", ("solid",)), TileFacts("e", ("enemy", "one-way")), TileFacts("?", ()))
    torch.manual_seed(0)
    model, said = change_text_vocabulary(start, tiles, ())
    assert said == ["solid", "enemy + one way", ""]
    table = transformers.GPT2LMHeadModel.from_pretrained(folder).transformer.wte.weight.detach()
    vector = {word: table[number + 1] for number, word in enumerate(WORDS)}
    found = model.network.tiles[SPECIALS:].detach()  # type: ignore[index, union-attr]
    expected = [vector["solid"], (vector["enemy"] + (vector["one"] + vector["way"]) / 2) / 2, table.mean(dim=0)]
    for number, wanted in enumerate(expected):
        distances = torch.stack([(found[number] - other).norm() for other in expected])
        assert distances.argmin() == number
        assert (found[number] - wanted).norm() < 0.5 * wanted.norm() + 0.2
    assert torch.equal(model.network.answer.detach(), found)  # type: ignore[union-attr]


def test_without_a_tokenizer_tiles_start_near_the_mean(tmp_path: Path) -> None:
    save_gpt2(tmp_path)
    model, origins = change_vocabulary(load_start(f"transformers:{tmp_path}"), FACTS, MEASURES)
    assert [origin.start for origin in origins] == [""] * len(FACTS)
    assert len({tuple(row.tolist()) for row in model.network.tiles}) == len(FACTS) + SPECIALS  # type: ignore[union-attr]


def test_tiles_and_measures_that_are_known_keep_their_weights(start: TileModel, tokens: TileTokens) -> None:
    model, _ = change_text_vocabulary(start, FACTS, MEASURES)
    with torch.no_grad():
        for parameter in model.network.vocabulary():  # type: ignore[operator]
            parameter.normal_()
    same, starts = change_text_vocabulary(model, FACTS, MEASURES)
    assert starts == [tile.name for tile in FACTS]
    assert torch.allclose(logits_of(same, tokens), logits_of(model, tokens), atol=1e-6)


def test_what_is_asked_is_silent_at_first(start: TileModel, tokens: TileTokens) -> None:
    model, _ = change_text_vocabulary(start, FACTS, MEASURES)
    silent = TileTokens(tokens.around, tokens.previous, tokens.place, tokens.position, torch.zeros_like(tokens.wishes))
    assert torch.equal(logits_of(model, tokens), logits_of(model, silent))


def test_saved_and_loaded_it_is_the_same(tmp_path: Path, start: TileModel, tokens: TileTokens) -> None:
    model, _ = change_vocabulary(start, FACTS, MEASURES)
    save_tile_model(tmp_path, model)
    kept, _ = load_tile_model(tmp_path)
    assert same_weights(kept.network, model.network)
    assert torch.equal(logits_of(kept, tokens), logits_of(model, tokens))
    save_tile_model(tmp_path / "half", model, half=True)
    half, _ = load_tile_model(tmp_path / "half")
    assert torch.allclose(logits_of(half, tokens), logits_of(model, tokens), atol=0.1)


def test_a_fresh_one_needs_no_weights(tmp_path: Path) -> None:
    (save_gpt2(tmp_path) / "model.safetensors").unlink()
    torch.manual_seed(0)
    fresh = load_start(f"transformers:{tmp_path}", fresh=True)
    assert fresh.parameters > 0
    with pytest.raises(PretrainedModelError, match=r"model\.safetensors"):
        load_start(f"transformers:{tmp_path}")


def test_a_model_that_sees_what_comes_later_is_refused(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(PretrainedModelError, match="no causal language model"):
        load_start(f"transformers:{tmp_path}")


def test_other_causal_models_will_do(tmp_path: Path, tokens: TileTokens) -> None:
    config = transformers.LlamaConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, pad_token_id=0
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    model, _ = change_vocabulary(load_start(f"transformers:{tmp_path / 'llama'}"), FACTS, MEASURES)
    assert len(model.network.blocks()) == 2  # type: ignore[operator]
    save_tile_model(tmp_path / "model", model)
    assert torch.equal(logits_of(load_tile_model(tmp_path / "model")[0], tokens), logits_of(model, tokens))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ("{", "not readable JSON"),
        ("{}", "cannot build"),
        ('{"model_type": "no-such-type"}', "cannot build"),
        ('{"model_type": "gpt2", "n_embd": 16, "n_head": 3}', "cannot build"),
    ],
)
def test_a_damaged_or_other_configuration_is_told(tmp_path: Path, config: str, match: str) -> None:
    (save_gpt2(tmp_path) / "config.json").write_text(config)
    with pytest.raises(PretrainedModelError, match=match) as caught:
        load_start(f"transformers:{tmp_path}")
    assert "config.json" in str(caught.value)


def test_damaged_and_pickled_weights_are_told(tmp_path: Path) -> None:
    save_gpt2(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PretrainedModelError, match="cannot be loaded"):
        load_start(f"transformers:{tmp_path}")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(PretrainedModelError, match="any program"):
        load_start(f"transformers:{tmp_path}")


def test_levels_too_high_for_its_positions_are_told(tmp_path: Path) -> None:
    model, _ = change_vocabulary(load_start(f"transformers:{save_gpt2(tmp_path, positions=16)}"), FACTS, MEASURES)
    assert model.network.context == 16
    with pytest.raises(PretrainedModelError, match=r"two lines .* 20 tiles.*16"):
        model.network.new_cache(1, 20)  # type: ignore[operator]
    rng = np.random.default_rng(0)
    with pytest.raises(PretrainedModelError, match=r"17 tiles.*16"):
        logits_of(model, batch_of([random_scan(rng, 1, 17)], [random_wishes(rng, 1)]))


def test_what_is_taken_back_is_forgotten(start: TileModel) -> None:
    """A line that is drawn again must not be seen behind the one that replaces it."""
    model, _ = change_text_vocabulary(start, FACTS, MEASURES)
    rng = np.random.default_rng(4)
    first, other = random_scan(rng, 3, 4), random_scan(rng, 3, 4)
    other[:2] = first[:2]
    wishes = random_wishes(rng, 3)
    kept, again = batch_of([first], [wishes]), batch_of([other], [wishes])
    cache = model.network.new_cache(1)  # type: ignore[operator]
    with torch.no_grad():
        model.network(cut_tokens(kept, 0, 12), cache)
        cache.length -= 4
        found = model.network(cut_tokens(again, 8, 12), cache)
    assert torch.allclose(found, logits_of(model, again)[:, 8:], atol=1e-4)
    assert cache.length == 12


def test_without_transformers_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="transformers"):
        load_text_model(str(folder))


def test_only_text_networks_take_text_vocabularies() -> None:
    with pytest.raises(TypeError):
        change_text_vocabulary(small_model(), FACTS, MEASURES)
