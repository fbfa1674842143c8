"""Licences by name: what forbids commercial use, what only wants a look, and what is fine."""

from __future__ import annotations

import pytest

from newgameplus.pretrained.licences import USES, caution, forbidden, use_problem

FORBIDS = (
    "cc-by-nc-4.0",
    "CC-BY-NC-SA-4.0",
    "cc-by-nc-nd-3.0",
    "apple-amlr",
    "intel-research",
    "fair-noncommercial-research-license",
    "deepseek non-commercial",
    "PolyForm-Noncommercial-1.0.0",
    "cc-by-nd-4.0",
    "research-only",
)
ALLOWS = ("Apache-2.0", "apache-2.0", "mit", "BSD-3-Clause", "cc-by-4.0", "cc-by-sa-4.0", "gpl-3.0", "cc0-1.0", "NCSA")


@pytest.mark.parametrize("licence", FORBIDS)
def test_what_forbids_commercial_use_only(licence: str) -> None:
    assert forbidden(licence, "commercial")
    assert caution(licence, "commercial") is None
    assert forbidden(licence, "research") is forbidden(licence, "any") is None


@pytest.mark.parametrize("licence", ALLOWS)
def test_what_is_fine(licence: str) -> None:
    assert [forbidden(licence, use) for use in USES] == [None] * 3
    assert [caution(licence, use) for use in USES] == [None] * 3


@pytest.mark.parametrize(
    "licence", ["unknown", "", "other", "bigscience-openrail-m", "creativeml-openrail-m", "llama2"]
)
def test_what_is_unclear_is_said_and_not_forbidden(licence: str) -> None:
    assert forbidden(licence, "commercial") is None
    assert caution(licence, "commercial")
    assert caution(licence, "any") is None


def test_an_unknown_licence_is_worth_a_look_for_research_too() -> None:
    assert caution("unknown", "research")
    assert caution("bigscience-openrail-m", "research") is None


def test_the_problem_names_model_licence_and_use() -> None:
    problem = use_problem("transformers:a/b", "cc-by-nc-4.0", "commercial")
    assert problem is not None
    assert "transformers:a/b" in problem.message
    assert "cc-by-nc-4.0" in problem.message
    assert problem.source == "model.use"
    assert problem.remedy
    assert use_problem("transformers:a/b", "mit", "commercial") is None
