"""Both families of networks: nothing later is seen, and decoding with a cache gives what a full pass gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_tiles import (
    FACTS,
    MEASURES,
    batch_of,
    cut_tokens,
    logits_of,
    random_scan,
    random_wishes,
    save_gpt2,
    small_model,
)

from newgameplus.pretrained.text_tiles import change_text_vocabulary, load_text_model
from newgameplus.pretrained.tile_model import TileModel
from newgameplus.pretrained.tile_tokens import TileTokens

COLUMNS, ROWS = 6, 5


@pytest.fixture(scope="module", params=["decoder", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TileModel:
    if request.param == "decoder":
        return small_model()
    pytest.importorskip("transformers")
    folder: Path = save_gpt2(tmp_path_factory.mktemp("gpt2"))
    text, _ = change_text_vocabulary(load_text_model(str(folder)), FACTS, MEASURES)
    with torch.no_grad():
        for parameter in text.network.vocabulary():  # type: ignore[operator]
            parameter.normal_(std=0.5)
    return text


@pytest.fixture(scope="module")
def tokens() -> TileTokens:
    rng = np.random.default_rng(1)
    return batch_of([random_scan(rng, COLUMNS, ROWS) for _ in range(3)], [random_wishes(rng, COLUMNS)] * 3)


def test_one_row_of_logits_a_token(model: TileModel, tokens: TileTokens) -> None:
    logits = logits_of(model, tokens)
    assert logits.shape == (3, COLUMNS * ROWS, len(FACTS))
    assert logits.std() > 0.1  # else the comparisons below would mean little


def test_decoding_token_by_token_with_a_cache_equals_the_full_pass(model: TileModel, tokens: TileTokens) -> None:
    cache = model.network.new_cache(3)  # type: ignore[operator]
    tables = model.network.tables()  # type: ignore[operator]
    with torch.no_grad():
        steps = [
            model.network(cut_tokens(tokens, step, step + 1), cache, None, tables) for step in range(COLUMNS * ROWS)
        ]
    assert cache.length == COLUMNS * ROWS <= cache.capacity
    assert torch.allclose(torch.cat(steps, dim=1), logits_of(model, tokens), atol=1e-4)


@pytest.mark.parametrize("known", [1, ROWS, 3 * ROWS + 2])
def test_a_cache_may_start_with_several_tokens_at_once(model: TileModel, tokens: TileTokens, known: int) -> None:
    cache = model.network.new_cache(3)  # type: ignore[operator]
    with torch.no_grad():
        parts = [model.network(cut_tokens(tokens, 0, known), cache)]
        parts += [model.network(cut_tokens(tokens, n, n + 1), cache) for n in range(known, COLUMNS * ROWS)]
    assert torch.allclose(torch.cat(parts, dim=1), logits_of(model, tokens), atol=1e-4)


@pytest.mark.parametrize("changed", [0, 7, 12, COLUMNS * ROWS - 1])
def test_no_answer_depends_on_its_own_tile_or_a_later_one(model: TileModel, changed: int) -> None:
    rng = np.random.default_rng(2)
    scan, wishes = random_scan(rng, COLUMNS, ROWS), random_wishes(rng, COLUMNS)
    other = scan.copy()
    other.ravel()[changed] = (other.ravel()[changed] + 1) % len(FACTS)
    one, two = logits_of(model, batch_of([scan], [wishes])), logits_of(model, batch_of([other], [wishes]))
    assert torch.allclose(one[:, : changed + 1], two[:, : changed + 1], atol=1e-6)
    if changed + 1 < COLUMNS * ROWS:
        assert (one[:, changed + 1] - two[:, changed + 1]).abs().max() > 1e-3


def test_what_is_asked_later_changes_nothing_before(model: TileModel) -> None:
    rng = np.random.default_rng(3)
    scan, wishes = random_scan(rng, COLUMNS, ROWS), random_wishes(rng, COLUMNS)
    with torch.no_grad():
        model.network.wishes.weight.normal_(std=0.1)  # type: ignore[union-attr]
    other = wishes.copy()
    other[3:] += 1.0
    one, two = logits_of(model, batch_of([scan], [wishes])), logits_of(model, batch_of([scan], [other]))
    assert torch.allclose(one[:, : 3 * ROWS], two[:, : 3 * ROWS], atol=1e-6)
    assert (one[:, 3 * ROWS] - two[:, 3 * ROWS]).abs().max() > 1e-3


def test_padding_at_the_end_changes_nothing(model: TileModel, tokens: TileTokens) -> None:
    longer = TileTokens(*(torch.nn.functional.pad(v, (*(0, 0) * (v.ndim - 2), 0, 9)) for v in vars(tokens).values()))
    padded = logits_of(model, longer)
    assert torch.allclose(padded[:, : COLUMNS * ROWS], logits_of(model, tokens), atol=1e-5)


def test_levels_of_a_batch_do_not_meet(model: TileModel, tokens: TileTokens) -> None:
    together = logits_of(model, tokens)
    for number in range(3):
        alone = TileTokens(*(value[number : number + 1] for value in vars(tokens).values()))
        assert torch.allclose(logits_of(model, alone)[0], together[number], atol=1e-5)


def test_a_cache_holds_at_least_what_it_is_asked_for() -> None:
    network = small_model(context=48).network
    assert network.new_cache(1).capacity == 48  # type: ignore[operator]
    assert network.new_cache(1, 200).capacity == 200  # type: ignore[operator]


def test_without_what_is_their_own_tiles_of_one_meaning_are_alike() -> None:
    """A share of 0 leaves the meanings: two tiles that mean the same are then the same tile, in and out."""
    twins = (*FACTS, FACTS[1].__class__("brick", ("solid",)))
    model = small_model(tiles=twins)
    rng = np.random.default_rng(4)
    scan, wishes = random_scan(rng, COLUMNS, ROWS), random_wishes(rng, COLUMNS)
    other = np.where(scan == 1, 4, scan).astype(np.int32)
    one, two = batch_of([scan], [wishes]), batch_of([other], [wishes])
    with torch.no_grad():
        hidden = [model.network(tokens, own=torch.zeros(1)) for tokens in (one, two)]
        shown = [model.network(tokens, own=torch.ones(1)) for tokens in (one, two)]
    assert torch.allclose(hidden[0], hidden[1], atol=1e-6)
    assert torch.allclose(hidden[0][..., 1], hidden[0][..., 4], atol=1e-6)
    assert not torch.allclose(shown[0], shown[1], atol=1e-2)
    assert torch.allclose(shown[0], logits_of(model, one), atol=1e-5)
