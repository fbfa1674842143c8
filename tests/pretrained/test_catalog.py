"""The catalog: names, sources and options, and what it says when they are wrong."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained import catalog
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import SOURCES, list_models, load_pretrained, rebuild_pretrained


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_keeps_the_contract(source):
    module = importlib.import_module(SOURCES[source])
    assert callable(module.load)
    assert all(isinstance(card, ModelCard) and card.name.startswith(f"{source}:") for card in module.cards())


def test_every_listed_model_loads_as_its_card_says():
    cards = list_models()
    assert cards
    for card in cards:
        model = load_pretrained(card.name)
        assert model.card.name == card.name
        assert model.backbone.feature_dim == card.feature_dim
        assert model.backbone.shape == card.shape
        assert sum(parameter.numel() for parameter in model.backbone.parameters()) == card.parameters
        rebuilt = rebuild_pretrained(model.card).backbone
        rebuilt.load_state_dict(model.backbone.state_dict())


def test_a_misspelt_source_is_answered_with_the_nearest_one():
    with pytest.raises(PretrainedModelError, match="'transfomers'") as caught:
        load_pretrained("transfomers:microsoft/resnet-50")
    assert "did you mean 'transformers'" in caught.value.problems[0].remedy


def test_a_misspelt_bundled_model_is_answered_with_the_nearest_one():
    known = list_models()[0].name
    with pytest.raises(PretrainedModelError) as caught:
        load_pretrained(known[:-1])
    assert known.partition(":")[2] in str(caught.value)


@pytest.mark.parametrize("name", ["", "resnet-50", "microsoft/resnet-50", "./folder"])
def test_a_name_without_a_source_is_told_how_to_write_it(name):
    with pytest.raises(PretrainedModelError, match="source:name") as caught:
        load_pretrained(name)
    if "/" in name:
        assert f"transformers:{name}" in str(caught.value)


@pytest.mark.parametrize("name", ["bundled:", "transformers:  "])
def test_an_empty_name_behind_the_source_is_refused(name):
    with pytest.raises(PretrainedModelError, match="no name behind the colon"):
        load_pretrained(name)


def test_all_unknown_options_are_reported_at_once_with_the_nearest_known_ones():
    with pytest.raises(PretrainedModelError) as caught:
        load_pretrained("transformers:./nowhere", options={"frame": 4, "poolin": "max", "height": 32})
    assert [problem.message for problem in caught.value.problems] == [
        "the source 'transformers' has no option 'frame'",
        "the source 'transformers' has no option 'poolin'",
    ]
    assert "did you mean 'frames'" in caught.value.problems[0].remedy
    assert "did you mean 'pooling'" in caught.value.problems[1].remedy


def test_a_new_source_is_one_module_and_one_line(monkeypatch):
    monkeypatch.setitem(catalog.SOURCES, "other", "newgameplus.pretrained.transformers")
    with pytest.raises(PretrainedModelError, match="there is no such folder"):
        load_pretrained("other:./nowhere")


def test_importing_the_catalog_does_not_import_torch():
    code = "import sys, newgameplus.pretrained.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
