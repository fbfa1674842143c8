"""Weights of a user's own network become a backbone, and everything that does not fit is named at once."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.pretrained import own_networks

from newgameplus.errors import PretrainedModelError
from newgameplus.files import digest_file
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import describe_pretrained, load_pretrained, rebuild_pretrained

FACTORY = f"{own_networks.__file__}:small"
OPTIONS = {"factory": FACTORY, "height": 24, "width": 32, "labels": "attack, move, idle", "frames": 2}


def network(seed: int = 3) -> torch.nn.Module:
    torch.manual_seed(seed)
    made = own_networks.small().eval()
    made[0][1].running_mean.uniform_(-1, 1)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(network().state_dict(), tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


def load(file: Path, **options) -> PretrainedModel:
    return load_pretrained(f"checkpoint:{file}", options=OPTIONS | options)


def refusal(file: Path, **options) -> PretrainedModelError:
    with pytest.raises(PretrainedModelError) as caught:
        load(file, **options)
    return caught.value


def clips(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_features_and_head_give_the_networks_own_logits(file):
    model = load(file, mean=0.5, std="0.25, 0.5, 0.25")
    seen = clips(3, 2, 24, 32, 3)
    pixels = (seen / 255 - 0.5) / torch.tensor([0.25, 0.5, 0.25])
    with torch.no_grad():
        expected = network()(pixels.flatten(0, 1).permute(0, 3, 1, 2)).reshape(3, 2, 3).mean(dim=1)
        found = model.zero_shot.logits(model.backbone(seen))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert model.zero_shot.labels == ("attack", "move", "idle")
    assert model.card.digest == digest_file(file)
    assert len(model.backbone.blocks()) == 2


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "model": s}, lambda s: {"weights": s}])
def test_files_of_torch_are_read_with_what_stands_around_the_weights(file, tmp_path, wrap):
    state = {f"module.{name}": value for name, value in network().state_dict().items()}
    torch.save(wrap(state), tmp_path / "own.pt")
    seen = clips(1, 2, 24, 32, 3)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "own.pt").backbone(seen), load(file).backbone(seen))


def test_a_prefix_picks_one_network_out_of_several(file, tmp_path):
    state = {f"student.{name}": value for name, value in network().state_dict().items()}
    save_file({**state, "teacher.weight": torch.zeros(2)}, tmp_path / "two.safetensors")
    assert "differ in" in refusal(tmp_path / "two.safetensors").message
    assert load(tmp_path / "two.safetensors", prefix="student.").card.parameters == load(file).card.parameters
    assert "begins with 'pupil.'" in refusal(tmp_path / "two.safetensors", prefix="pupil.").message


def test_every_mismatch_is_named_and_which_parts_would_be_new(file, tmp_path):
    state = network().state_dict()
    del state["1.0.weight"], state["1.1.running_var"]
    state["4.weight"], state["4.bias"] = torch.zeros(7, 12), torch.zeros(7)
    state["5.scale"] = torch.ones(1)
    save_file(state, tmp_path / "other.safetensors")
    error = refusal(tmp_path / "other.safetensors")
    assert error.message == "the file and the network differ in 5 tensors"
    assert [problem.message for problem in error.problems] == [
        "1.0.weight (12, 8, 3, 3) is missing",
        "1.1.running_var (12,) is missing",
        "4.weight is (7, 12) in the file, (3, 12) here",
        "4.bias is (7,) in the file, (3,) here",
        "5.scale (1,) has no place in the network",
    ]
    assert "partial: true" in error.remedy
    assert "start anew: 1.0, 1.1, 4" in error.remedy


def test_parts_that_the_file_lacks_may_start_anew_and_are_named(tmp_path, capfd):
    state = network().state_dict()
    state["4.weight"], state["4.bias"] = torch.zeros(7, 12), torch.zeros(7)
    save_file(state, tmp_path / "other.safetensors")
    model = load(tmp_path / "other.safetensors", partial=True)
    assert "new, with random weights: 4" in capfd.readouterr().err
    assert model.card.facts["new_parts"] == ["4"]
    assert model.zero_shot is None  # a head of random weights knows nothing
    assert torch.equal(model.backbone.state_dict()["network.0.0.weight"], state["0.0.weight"])
    save_file({"strange": torch.zeros(1)}, tmp_path / "none.safetensors")
    assert "none of its tensors fits" in refusal(tmp_path / "none.safetensors", partial=True).message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    state = network().state_dict()
    state["1.0.weight"][0, 0, 0, 0] = value
    save_file(state, tmp_path / "nan.safetensors")
    error = refusal(tmp_path / "nan.safetensors")
    assert "'1.0.weight' holds NaN" in error.message


def test_pickles_are_refused_with_the_way_to_convert_and_never_run(tmp_path):
    trace = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (trace,))

    torch.save({"weights": Bomb()}, tmp_path / "bomb.pt")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Bomb()))
    torch.save(network(), tmp_path / "whole.pt")
    for file in ("bomb.pt", "old.pth", "plain.pkl", "whole.pt"):
        error = refusal(tmp_path / file)
        assert "safetensors.torch.save_file(state_dict" in error.remedy
    assert "Sequential" in refusal(tmp_path / "whole.pt").message
    assert not trace.exists()


def test_a_file_that_is_not_there_is_answered_with_the_nearest(file):
    assert "did you mean" in refusal(file.with_name("owm.safetensors")).remedy


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"factory": ""}, "do not say which network"),
        ({"factory": "small"}, "names no function"),
        ({"factory": "nowhere.py:small"}, "there is no file"),
        ({"factory": "newgameplus_nowhere:small"}, "importing newgameplus_nowhere failed"),
        ({"factory": FACTORY.replace(":small", ":smal")}, "has no function 'smal'"),
        ({"factory": FACTORY.replace(":small", ":no_network")}, "gave int"),
        ({"factory": FACTORY.replace(":small", ":failing")}, "out of paint"),
        ({"factory": FACTORY.replace(":small", ":needing")}, "needs secret"),
        ({"layout": "whc"}, "no layout is called 'whc'"),
        ({"channels": 2}, "channels is 2"),
        ({"height": 0}, "height is 0"),
        ({"mean": "dark"}, "image_mean is 'dark'"),
        ({"pooling": "most"}, "no pooling"),
        ({"channels": 1, "factory": f"{own_networks.__file__}:video"}, "convolution"),
    ],
)
def test_options_that_cannot_be_used(file, options, expected):
    error = refusal(file, **options)
    assert expected in str(error)
    assert all(problem.remedy or error.remedy or problem.source for problem in error.problems)


def test_fresh_weights_need_no_file(tmp_path):
    torch.manual_seed(0)
    one = load_pretrained(f"checkpoint:{tmp_path / 'none.pt'}", fresh=True, options=OPTIONS)
    torch.manual_seed(1)
    other = load_pretrained(f"checkpoint:{tmp_path / 'none.pt'}", fresh=True, options=OPTIONS)
    assert one.zero_shot is None
    assert one.card.labels == ()
    assert not torch.equal(*(m.backbone.state_dict()["network.0.0.weight"] for m in (one, other)))


def test_a_network_of_clips_takes_them_whole(tmp_path):
    torch.manual_seed(2)
    original = own_networks.video(frames=5)
    save_file(original.state_dict(), tmp_path / "video.safetensors")
    options = {"factory": f"{own_networks.__file__}:video", "layout": "cthw", "frames": 5, "mean": 0.0, "std": 1.0}
    model = load_pretrained(f"checkpoint:{tmp_path / 'video.safetensors'}", options=options | {"height": 8, "width": 8})
    seen = clips(2, 5, 8, 8, 3)
    with torch.no_grad():
        expected = original(seen.permute(0, 4, 1, 2, 3) / 255)
        found = model.zero_shot.logits(model.backbone(seen))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert model.card.modality == "clip"


def test_card_and_weights_rebuild_it_without_the_file_but_not_without_the_program(file):
    model = load(file)
    card = ModelCard.from_dict(json.loads(json.dumps(model.card.as_dict())))
    file.unlink()
    rebuilt = rebuild_pretrained(card)
    rebuilt.backbone.load_state_dict(model.backbone.state_dict())
    seen = clips(1, 2, 24, 32, 3)
    with torch.no_grad():
        assert torch.equal(rebuilt.backbone(seen), model.backbone(seen))
    assert rebuilt.card == card
    card.facts["factory"] = "/nowhere/own.py:small"
    with pytest.raises(PretrainedModelError, match="is gone"):
        rebuild_pretrained(card)


def test_a_description_reads_no_weights(file):
    whole = load(file).card
    file.write_bytes(b"")
    described = describe_pretrained(f"checkpoint:{file}", OPTIONS)
    assert ModelCard(**{**vars(described), "digest": whole.digest}) == whole


def test_a_factory_that_computes_with_numbers_is_described_all_the_same(file, tmp_path):
    program = tmp_path / "computing.py"
    program.write_text(
        "import importlib.util, torch\n"
        f"spec = importlib.util.spec_from_file_location('own', {own_networks.__file__!r})\n"
        "own = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(own)\n"
        "def build():\n"
        "    torch.linspace(0, 0.1, 3)[1].item()  # without numbers there is nothing to read\n"
        "    return own.small()\n"
    )
    options = OPTIONS | {"factory": f"{program}:build"}
    whole = load_pretrained(f"checkpoint:{file}", options=options).card
    described = describe_pretrained(f"checkpoint:{file}", options)
    assert ModelCard(**{**vars(described), "digest": whole.digest}) == whole
