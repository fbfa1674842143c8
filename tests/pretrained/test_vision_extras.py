"""Torchvision and timm: missing, broken, or, where they are installed and work, backbones like any other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from newgameplus.errors import MissingExtraError, PretrainedModelError
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import describe_pretrained, load_pretrained, rebuild_pretrained
from newgameplus.pretrained.preprocessing import Preprocessing
from newgameplus.pretrained.torch_network import assemble, network_facts
from newgameplus.pretrained.vision_extras import import_vision
from newgameplus.shapes import ClipShape

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"


def works(package: str) -> bool:
    try:
        import_vision(package)
    except (MissingExtraError, PretrainedModelError):
        return False
    return True


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lay packages of our own before the real ones."""

    def lay(**contents: str) -> None:
        for name, content in contents.items():
            for loaded in [one for one in sys.modules if one.split(".")[0] == name]:
                monkeypatch.delitem(sys.modules, loaded)
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(content)
        monkeypatch.syspath_prepend(tmp_path)

    return lay


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_not_installed_says_what_to_install(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for act in (load_pretrained, describe_pretrained):
        with pytest.raises(MissingExtraError) as caught:
            act(f"{package}:resnet18")
        assert caught.value.remedy == f'pip install "newgameplus[{package}]"'


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_broken_torchvision_is_named_with_the_command_that_mends_it(package, fake):
    fake(torchvision=BROKEN, timm="import torchvision")
    with pytest.raises(PretrainedModelError) as caught:
        load_pretrained(f"{package}:resnet18")
    error = caught.value
    assert "operator torchvision::nms does not exist" in error.message
    assert ("and timm needs it" in error.message) == (package == "timm")
    assert "pip install --force-reinstall --no-deps torchvision" in error.remedy
    if not torch.version.cuda:
        assert "--index-url https://download.pytorch.org/whl/cpu" in error.remedy
        assert "pip uninstall torchvision" in error.remedy


def test_a_timm_that_breaks_by_itself_is_not_blamed_on_torchvision(fake):
    fake(timm="raise ImportError('no module named yaml')")
    with pytest.raises(MissingExtraError, match="no module named yaml"):
        load_pretrained("timm:resnet18")


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_real_networks_are_described_loaded_and_rebuilt(package):
    if not works(package):
        pytest.skip(f"{package} is not installed, or broken")
    options = {"weights": "none", "height": 64, "width": 64, "frames": 2}
    model = load_pretrained(f"{package}:resnet18", options=options)
    assert describe_pretrained(f"{package}:resnet18", options) == model.card
    assert len(model.backbone.blocks()) == 10
    rebuilt = rebuild_pretrained(ModelCard.from_dict(json.loads(json.dumps(model.card.as_dict()))))
    rebuilt.backbone.load_state_dict(model.backbone.state_dict())
    clips = torch.randint(0, 256, (2, 2, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(rebuilt.backbone(clips), model.backbone(clips))
    with pytest.raises(PretrainedModelError) as caught:
        load_pretrained(f"{package}:resnet19")
    assert "did you mean" in caught.value.remedy


class Inception(torch.nn.Module):
    """A network without any list of layers, as torchvision's and timm's of that kind are."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(4, 5)
        self.stem, self.mixed = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.mixed(torch.relu(self.stem(pixels))))
        return self.last(maps.mean(dim=(2, 3)))


def test_a_network_without_lists_of_layers_has_its_own_parts_for_blocks():
    eaten = Preprocessing(8, 8, 1 / 255, 0.0, (0.5,) * 3, (0.5,) * 3)
    card = ModelCard("own:x", "own", "image", 0, 0, ClipShape(2, 8, 8, 3), facts=network_facts(eaten, "mean", "chw"))
    network = Inception()
    model = assemble(card, network, labels=tuple("abcde"), keep_head=True)
    assert model.backbone.blocks() == [network.stem, network.mixed]
    assert model.zero_shot.labels == tuple("abcde")
