"""Text bodies of the Transformers library as readers of a policy's tokens."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")
from transformers.utils import logging as transformers_logging  # noqa: E402

from newgameplus.errors import PretrainedModelError  # noqa: E402
from newgameplus.pretrained.policy import Policy, load_policy, save_policy  # noqa: E402
from newgameplus.pretrained.policy_sources import load_policy_start  # noqa: E402
from newgameplus.pretrained.policy_transformers import TransformersEncoder  # noqa: E402
from newgameplus.recipe_agent import AgentModelSettings  # noqa: E402
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec  # noqa: E402

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONFIGS: dict[str, Any] = {
    "BertModel": lambda: transformers.BertConfig(vocab_size=50, max_position_embeddings=12, **SIZES),
    "BertForMaskedLM": lambda: transformers.BertConfig(vocab_size=50, max_position_embeddings=12, **SIZES),
    "RobertaModel": lambda: transformers.RobertaConfig(vocab_size=50, max_position_embeddings=14, **SIZES),
    "DistilBertModel": lambda: transformers.DistilBertConfig(
        vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=12
    ),
    "GPT2LMHeadModel": lambda: transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=12),
    "LlamaModel": lambda: transformers.LlamaConfig(vocab_size=50, num_key_value_heads=1, **SIZES),
    "AlbertModel": lambda: transformers.AlbertConfig(
        vocab_size=50, embedding_size=8, max_position_embeddings=12, **SIZES
    ),
}
TOKENS = ObservationPart("mission", "tokens", (7,), "int64", sizes=(12,))
VECTOR = ObservationPart("vector", "vector", (4,))
SEEN = torch.tensor([[4, 7, 2, 0, 0, 0, 0], [5, 6, 7, 8, 9, 10, 11], [0, 0, 0, 0, 0, 0, 0]])


@pytest.fixture(autouse=True)
def _no_bars_of_save_pretrained() -> Any:
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()


def save(folder: Path, name: str) -> torch.nn.Module:
    torch.manual_seed(7)
    network: torch.nn.Module = getattr(transformers, name)(CONFIGS[name]()).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    network.save_pretrained(folder)  # type: ignore[operator]
    return network


def start(folder: Path, *parts: ObservationPart, share: bool = True, **options: Any) -> Policy:
    name = f"transformers:{folder}"
    return load_policy_start(
        name,
        settings=AgentModelSettings(start=name, options=options, share=share),
        observations=ObservationSpec(parts or (TOKENS, VECTOR)),
        actions=ActionSpec("discrete", (3,)),
        environment="Game-v1",
        seed=3,
    )


def encoder_of(policy: Policy) -> TransformersEncoder:
    found = policy.network.encoders[0]
    assert isinstance(found, TransformersEncoder)
    return found


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_body_reads_and_is_built_again_without_its_folder(name: str, tmp_path: Path) -> None:
    save(tmp_path / "body", name)
    policy = start(tmp_path / "body")
    shutil.rmtree(tmp_path / "body")
    seen = {"mission": SEEN, "vector": torch.randn(3, 4)}
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        before = policy.network(seen)
    assert encoder_of(policy).width == 16
    assert encoder_of(policy).tokens.weight.shape[0] == 12
    save_policy(tmp_path / "saved", policy)
    with torch.no_grad():
        after = load_policy(tmp_path / "saved").network(seen)
        learning = policy.network.train()(seen)
    assert torch.equal(before.distribution.answer, after.distribution.answer)
    assert torch.equal(before.distribution.answer, learning.distribution.answer)
    assert torch.isfinite(before.values).all()


@pytest.mark.parametrize("name", ["BertModel", "GPT2LMHeadModel", "LlamaModel"])
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_its_own_vocabulary_gives_its_own_answers(name: str, pooling: str, tmp_path: Path) -> None:
    whole = save(tmp_path, name)
    encoder = encoder_of(start(tmp_path, vocabulary="own", pooling=pooling))
    body = whole.transformer if name.startswith("GPT2") else whole
    with torch.no_grad():
        for row, length in ((0, 3), (1, 7)):
            hidden = body(input_ids=SEEN[row : row + 1, :length]).last_hidden_state[0]  # type: ignore[operator]
            expected = {"mean": hidden.mean(dim=0), "first": hidden[0], "last": hidden[-1]}[pooling]
            assert torch.allclose(encoder(SEEN)[row], expected, atol=1e-5)


def test_new_tokens_are_drawn_like_the_old_ones(tmp_path: Path) -> None:
    whole = save(tmp_path, "BertModel")
    first, second = (encoder_of(start(tmp_path)).tokens.weight for _ in range(2))
    assert torch.equal(first, second)
    many = encoder_of(start(tmp_path, ObservationPart("mission", "tokens", (7,), "int64", sizes=(5000,)))).tokens.weight
    old = whole.get_input_embeddings().weight  # type: ignore[operator]
    assert torch.allclose(many.mean(dim=0), old.mean(dim=0), atol=0.02)
    assert torch.allclose(many.std(dim=0), old.std(dim=0), atol=0.02)


def test_nothing_of_the_body_is_dead_weight(tmp_path: Path) -> None:
    save(tmp_path, "BertModel")
    policy = start(tmp_path, share=False)
    answer = policy.network({"mission": SEEN, "vector": torch.randn(3, 4)})
    (answer.distribution.answer.sum() + answer.values.sum()).backward()
    assert [name for name, weight in policy.network.named_parameters() if weight.grad is None] == []
    pairs = zip(policy.network.encoders.parameters(), policy.network.critic_encoders.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_what_does_not_fit(tmp_path: Path) -> None:
    save(tmp_path / "bert", "BertModel")

    def refused(said: str, *parts: ObservationPart, folder: str = "bert", **options: Any) -> None:
        with pytest.raises(PretrainedModelError, match=said) as caught:
            start(tmp_path / folder, *parts, **options)
        assert "remedy" in str(caught.value)

    refused("kind tokens", VECTOR)
    refused("does not take 13 tokens", ObservationPart("mission", "tokens", (13,), "int64", sizes=(12,)))
    refused("knows 50", ObservationPart("mission", "tokens", (7,), "int64", sizes=(60,)), vocabulary="own")
    refused("pooling is 'max'", pooling="max")
    refused("vocabulary is 'old'", vocabulary="old")
    transformers.ViTModel(transformers.ViTConfig(**SIZES, image_size=16, patch_size=8)).save_pretrained(
        tmp_path / "vit"
    )
    refused("no body that reads tokens", folder="vit")
    transformers.T5Model(
        transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path / "t5")
    refused("no body that reads tokens", folder="t5")
    (tmp_path / "bert" / "model.safetensors").unlink()
    (tmp_path / "bert" / "pytorch_model.bin").write_bytes(b"pickle")
    refused("can run any program")
