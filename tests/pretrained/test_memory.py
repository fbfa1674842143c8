"""Memory: what a card alone says of loading and training, and what a container leaves of the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.memory import available_memory, bytes_to_load, bytes_to_train, memory_problem, told_bytes
from newgameplus.shapes import ClipShape

CARD = ModelCard("transformers:a/b", "vit", "image", 1_000_000, 8, ClipShape(4, 100, 100, 3))


def test_moving_weights_take_five_times_the_memory_of_frozen_ones() -> None:
    assert bytes_to_load(CARD) == 8_000_000
    assert bytes_to_train(CARD, "full") - bytes_to_train(CARD, "probe") == 16_000_000
    assert bytes_to_train(CARD, "lora") == bytes_to_train(CARD, "probe")
    assert bytes_to_train(CARD, "probe", 32) - bytes_to_train(CARD, "probe", 1) == 31 * 120_000 * 5


def test_a_container_takes_away_from_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 200000\n")
    assert available_memory(tmp_path) == 500_000


def test_the_older_kind_of_container(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("1000000\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("1200000\n")
    (tmp_path / "memory" / "memory.stat").write_text("total_inactive_file 0\n")
    assert available_memory(tmp_path) == 0


@pytest.mark.parametrize("limit", ["max\n", "nonsense", None])
def test_no_limit_leaves_what_the_machine_has(
    tmp_path: Path, limit: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("5")
        (tmp_path / "memory.stat").write_text("")
    assert available_memory(tmp_path) == free.available


def test_what_is_larger_than_memory_is_said_with_a_way_out() -> None:
    assert memory_problem(CARD, available=30_000_000) is None
    loading = memory_problem(CARD, available=7_000_000)
    assert loading is not None
    assert "1,000,000 weights: loading it takes about 8.0 MB, and 7.0 MB" in loading.message
    training = memory_problem(CARD, available=15_000_000)
    assert training is not None
    assert "training it with full takes 20.6 MB" in training.message
    assert "probe or lora" in training.remedy
    assert memory_problem(CARD, strategy="probe", available=15_000_000) is None


def test_a_model_larger_than_this_machine() -> None:
    assert memory_problem(CARD) is None
    assert memory_problem(replace(CARD, parameters=10**13)) is not None


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (1500, "1.5 kB"), (2 * 10**9, "2.0 GB"), (10**16, "10000.0 TB")]
)
def test_bytes_for_people(count: int, told: str) -> None:
    assert told_bytes(count) == told
