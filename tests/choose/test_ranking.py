"""From scores to a choice: mean ranks order, each score's pick is tried, short runs decide, ties go to the small."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from newgameplus.choose import Candidate, Choice, Cost, ShortRun, combine, decide, estimate, rank_by, shortlist
from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.card import ModelCard
from newgameplus.shapes import ClipShape


def candidate(name: str, prior: float, knn: float, logme: float, parameters: int = 10) -> Candidate:
    return Candidate(name, parameters, {"prior": prior, "knn": knn, "logme": logme})


def ran(one: Candidate, value: float) -> Candidate:
    return replace(one, short_run=ShortRun(value, value - 0.1, value + 0.1, 40, 1.0))


FOUR = [
    candidate("good", 2.0, 0.6, 1.0),
    candidate("liked", 3.0, 0.2, 0.1),
    candidate("near", 1.0, 0.9, 0.3),
    candidate("poor", 0.0, 0.1, 0.0),
]


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    return [one.name for one in candidates]


def test_the_mean_rank_orders() -> None:
    assert names(rank_by(FOUR, "prior")) == ["liked", "good", "near", "poor"]
    assert names(combine(FOUR)) == ["good", "near", "liked", "poor"]
    assert names(combine(FOUR, {"prior": 1.0})) == ["liked", "good", "near", "poor"]


def test_ranks_do_not_ask_how_far_apart_scores_are() -> None:
    stretched = [replace(one, scores=one.scores | {"logme": 1e6 * one.scores["logme"]}) for one in FOUR]
    assert names(combine(stretched)) == names(combine(FOUR))


def test_the_smaller_of_equals_goes_first() -> None:
    small, large = candidate("small", 1.0, 0.5, 0.0), candidate("large", 1.0, 0.5, 0.0, parameters=99)
    assert names(combine([large, small])) == ["small", "large"]
    assert decide([ran(large, 0.7), ran(small, 0.7)]).name == "small"
    assert "tie" in decide([ran(large, 0.7), ran(small, 0.7)]).reason


def test_a_score_that_one_lacks_is_not_used() -> None:
    assert names(combine([*FOUR[:2], Candidate("other", 10, {"prior": 2.5})])) == ["liked", "other", "good"]


def test_every_single_score_has_its_pick_on_the_shortlist() -> None:
    assert names(shortlist(FOUR, 3)) == ["good", "liked", "near"]
    assert names(shortlist(FOUR, 1)) == ["good"]
    assert names(shortlist(FOUR, 9)) == ["good", "liked", "near", "poor"]
    assert shortlist([], 3) == ()


def test_short_runs_decide_over_all_scores() -> None:
    tried = [ran(FOUR[0], 0.5), ran(FOUR[1], 0.8), *FOUR[2:]]
    choice = decide(tried, advice="advice", left_out=[{"name": "broken"}])
    assert choice.name == choice.chosen.name == "liked"
    assert names(choice.candidates) == ["liked", "good", "near", "poor"]
    assert choice.by_prior == ("liked", "good", "near", "poor")
    assert "0.800" in choice.reason
    assert "estimate" in choice.reason
    assert Choice.from_dict(choice.as_dict()) == choice


def test_reasons_without_short_runs() -> None:
    assert "only candidate" in decide(FOUR[:1]).reason
    assert "60%" in decide(FOUR).reason
    assert "estimates" in decide(FOUR).reason
    assert "bits 2" in decide([Candidate("one", 1, {"bits": 2.0})]).reason
    with pytest.raises(PretrainedModelError, match="no pretrained model"):
        decide([])


def test_a_candidate_comes_back_from_plain_data() -> None:
    one = replace(ran(FOUR[0], 0.5), cost=Cost(0.01, 12.0, 1000))
    assert Candidate.from_dict(one.as_dict()) == one


def test_estimates_of_one_candidate() -> None:
    card = ModelCard("run:x", "clip-cnn", "clip", 2_000_000, 4, ClipShape(6, 60, 80, 1), license="MIT")
    targets, groups = torch.arange(40) % 2, torch.arange(40) // 10
    features = torch.nn.functional.one_hot(targets, 4).float()
    found = estimate(features, targets, groups, card, labels=("a", "b"), seconds=3.0)
    assert (found.name, found.parameters, found.license, found.seconds) == ("run:x", 2_000_000, "MIT", 3.0)
    assert found.scores["knn"] == 1.0
    assert set(found.scores) == {"prior", "knn", "logme"}
    assert "games" in found.why_prior


def test_notes_of_runs_that_knew_no_options_are_still_read() -> None:
    one = ran(replace(FOUR[0], name="a:x (frames=4)", start="a:x", options={"frames": 4}), 0.5)
    assert Candidate.from_dict(one.as_dict()) == one
    content = ran(FOUR[0], 0.5).as_dict()
    content = {key: value for key, value in content.items() if key not in ("start", "options")}
    content["short_run"] = {key: value for key, value in content["short_run"].items() if key != "caution"}
    before = Candidate.from_dict(content)
    assert (before.name, before.start, before.options) == ("good", "good", {})
