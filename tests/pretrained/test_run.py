"""A finished run is a start: its backbone, its head under the names it learned, and where it all came from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from newgameplus.adapt import ClipClassifier
from newgameplus.adapt.saving import save_classifier
from newgameplus.errors import PretrainedModelError
from newgameplus.files import digest_file
from newgameplus.pretrained.catalog import describe_pretrained, load_pretrained, rebuild_pretrained
from newgameplus.tensors import load_tensors, save_tensors

START = "bundled:doom-clips"


def fine_tuned(folder: Path, start: str = START) -> ClipClassifier:
    """Save a classifier as a run does, with every weight moved."""
    model = load_pretrained(start)
    classifier = ClipClassifier(model.backbone, ["attack", "hide"])
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
        classifier.head.mean.uniform_(-1, 1)
        classifier.head.scale.uniform_(0.5, 2)
    save_classifier(folder / "model", classifier, model.card, {"strategy": "lp-ft", "clips": ["a1"]})
    return classifier.eval()


def clips(shape) -> torch.Tensor:
    return torch.randint(0, 256, (3, *shape.array), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def refusal(name: object) -> PretrainedModelError:
    with pytest.raises(PretrainedModelError) as caught:
        load_pretrained(f"run:{name}")
    assert caught.value.remedy
    return caught.value


def test_backbone_and_head_answer_as_the_run_did(tmp_path):
    classifier = fine_tuned(tmp_path / "old")
    model = load_pretrained(f"run:{tmp_path / 'old'}")
    seen = clips(model.backbone.shape)
    with torch.no_grad():
        torch.testing.assert_close(model.zero_shot.logits(model.backbone(seen)), classifier(seen), atol=1e-4, rtol=1e-4)
    start = load_pretrained(START).card
    assert model.card.labels == ("attack", "hide")
    assert model.card.license == start.license
    assert model.card.digest == digest_file(tmp_path / "old" / "model" / "model.safetensors")
    assert "lp-ft" in model.card.description
    assert model.card.facts["lineage"] == [START]
    assert model.card.facts["training"]["clips"] == ["a1"]
    assert describe_pretrained(f"run:{tmp_path / 'old'}") == model.card


def test_a_run_from_a_run_needs_neither_to_be_rebuilt(tmp_path):
    fine_tuned(tmp_path / "first")
    fine_tuned(tmp_path / "second", f"run:{tmp_path / 'first'}")
    model = load_pretrained(f"run:{tmp_path / 'second'}")
    shutil.rmtree(tmp_path / "first")
    assert model.card.facts["lineage"] == [START, f"run:{tmp_path / 'first'}"]
    rebuilt = rebuild_pretrained(model.card)
    rebuilt.backbone.load_state_dict(model.backbone.state_dict())
    seen = clips(model.backbone.shape)
    with torch.no_grad():
        assert torch.equal(rebuilt.backbone(seen), model.backbone(seen))


def test_fresh_has_other_weights_and_no_head(tmp_path):
    fine_tuned(tmp_path)
    model = load_pretrained(f"run:{tmp_path}", fresh=True)
    assert model.zero_shot is None
    assert model.card.labels == ()
    name, weight = next((n, p) for n, p in model.backbone.named_parameters() if p.dim() > 1)
    assert not torch.equal(weight, dict(load_pretrained(f"run:{tmp_path}").backbone.named_parameters())[name])


def test_what_pretraining_wrote_is_a_start_without_a_head(tmp_path):
    model = load_pretrained(START)
    folder = tmp_path / "more" / "model"
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.mul_(1.5)
    save_tensors(folder / "model.safetensors", model.backbone.state_dict())
    content = {
        "schema": 1,
        "kind": "pretrained",
        "digest": digest_file(folder / "model.safetensors"),
        "start": model.card.as_dict(),
        "training": {"steps": 3},
    }
    (folder / "card.json").write_text(json.dumps(content))
    found = load_pretrained(f"run:{tmp_path / 'more'}")
    seen = clips(model.backbone.shape)
    with torch.no_grad():
        assert torch.equal(found.backbone(seen), model.backbone(seen))
    assert found.zero_shot is None
    assert found.card.labels == ()


def test_runs_that_cannot_be_used_say_why(tmp_path):
    fine_tuned(tmp_path / "whole")
    assert "did you mean" in refusal(tmp_path / "whale").remedy
    (tmp_path / "begun").mkdir()
    assert "ngp resume" in refusal(tmp_path / "begun").remedy
    card = tmp_path / "whole" / "model" / "card.json"
    content = card.read_text()
    for damaged in ("{", "[]", "{}", content.replace('"labels"', '"names"').replace('"shape"', '"form"')):
        card.write_text(damaged)
        refusal(tmp_path / "whole")
    card.write_text(content)
    weights = card.with_name("model.safetensors")
    tensors, _ = load_tensors(weights)
    tensors["head.linear.weight"][0, 0] = float("nan")
    save_tensors(weights, tensors)
    assert "not those of the card" in refusal(tmp_path / "whole").message
    card.write_text(json.dumps(json.loads(content) | {"digest": digest_file(weights)}))
    assert "NaN" in refusal(tmp_path / "whole").message
    weights.write_bytes(b"")
    refusal(tmp_path / "whole")
