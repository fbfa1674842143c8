"""The static prior: what each fact on a card is worth, and that nothing else is looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from newgameplus.choose import static_prior
from newgameplus.pretrained.card import ModelCard
from newgameplus.shapes import ClipShape

CARD = ModelCard("transformers:a/b", "resnet", "image", 1_000_000, 8, ClipShape(4, 224, 224, 3))


def test_a_plain_card_has_no_points() -> None:
    prior = static_prior(CARD)
    assert prior.value == 0.0
    assert prior.reason == "nothing speaks for or against it"


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (replace(CARD, name="bundled:b"), CARD),
        (replace(CARD, name="run:b"), CARD),
        (replace(CARD, facts={"domain": "games"}), CARD),
        (replace(CARD, modality="clip"), replace(CARD, facts={"pooling": "mean-change"})),
        (replace(CARD, facts={"pooling": "mean-change"}), CARD),
        (replace(CARD, parameters=90_000_000), CARD),
        (replace(CARD, labels=("Walk!", "run", "other")), replace(CARD, labels=("walk", "cat"))),
        (CARD, replace(CARD, shape=ClipShape(16, 224, 224, 3))),
    ],
)
def test_what_speaks_for_a_model(better: ModelCard, worse: ModelCard) -> None:
    labels = ("walk", "RUN", "jump")
    assert static_prior(better, labels, clip_frames=6).value > static_prior(worse, labels, clip_frames=6).value


def test_size_counts_for_so_much_only() -> None:
    huge, larger = (static_prior(replace(CARD, parameters=size)).value for size in (10**12, 10**10))
    assert huge == larger == 0.5
    assert static_prior(replace(CARD, parameters=0)).value == -0.5


def test_the_reason_names_the_points() -> None:
    reason = static_prior(replace(CARD, name="bundled:x", labels=("a", "b")), ("a", "b")).reason
    assert reason == "pretrained on games +1.00, knows the classes +1.00"
