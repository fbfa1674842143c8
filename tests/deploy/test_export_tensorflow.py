"""Models leave as SavedModels of plain TensorFlow operations, and answer as the torch model does on real inputs.

TensorFlow is large, so that these tests have an environment of their own: ``make test-tensorflow``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is not installed here: make test-tensorflow")

from tests.deploy.exported_runs import behavior_run, policy_run, scene_run, sequence_run, tiny_transformer  # noqa: E402

from newgameplus.deploy.export_formats.tensorflow import TensorflowFormat  # noqa: E402
from newgameplus.deploy.export_parity import check_parity  # noqa: E402
from newgameplus.deploy.exportable import Exportable, ExportedInput, ExportedOutput  # noqa: E402
from newgameplus.errors import ExportError, RunError  # noqa: E402
from newgameplus.run import Run  # noqa: E402
from newgameplus.verbs import export  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # TensorFlow's own, which change with every version


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def clips_run(place: Path) -> Run:
    return behavior_run(place)


@pytest.fixture(scope="module")
def exported(clips_run: Run, place: Path) -> dict[str, Any]:
    return export(clips_run.folder, place / "out" / "actions", to="tensorflow")


def written(model: Exportable, folder: Path) -> Any:
    form = TensorflowFormat()
    form.require()
    form.write(model, folder, "model")
    return form.runner(folder / "model")


def one_input(module: nn.Module, values: np.ndarray, shape: tuple[int | str, ...] | None = None) -> Exportable:
    """Return a network of one input and one output."""

    class Tuple(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.module(x),)

    given = ExportedInput("x", str(values.dtype), shape or values.shape[1:], "")
    return Exportable(Tuple().eval(), (given,), (ExportedOutput("y", ""),), {"x": values}, "inputs")


def test_the_folder_serves_as_the_run_answers(clips_run: Run, exported: dict[str, Any]) -> None:
    from newgameplus.deploy.export_models import open_exportable

    loaded = tensorflow.saved_model.load(exported["path"])
    served = loaded.signatures["serving_default"]
    assert list(served.structured_input_signature[1]) == ["clips"]
    assert served.structured_input_signature[1]["clips"].shape.as_list() == [None, 6, 60, 80, 1]
    model = open_exportable(clips_run, None)
    kept = json.loads((clips_run.folder / "predictions.json").read_text())["fine-tuned"]["probabilities"]
    for count in (1, 2, 5):
        found = served(clips=tensorflow.constant(model.samples["clips"][:count]))
        assert set(found) == {"logits", "probabilities"}
        assert found["probabilities"].numpy() == pytest.approx(np.array(kept)[:count], abs=1e-4)


def test_labels_and_the_check_lie_in_the_folder(exported: dict[str, Any]) -> None:
    folder = Path(exported["path"])
    labels = json.loads((folder / "assets" / "labels.json").read_text())
    assert labels["labels"] == ["goes_left", "goes_right", "stands"]
    assert "6 frames of 60 x 80" in labels["preprocessing"]
    told = json.loads((folder / "assets.extra" / "newgameplus.json").read_text())
    assert told["parity"] == exported["parity"]
    assert told["license"] == "Apache-2.0"
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


def test_nothing_is_overwritten(clips_run: Run, exported: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="nothing is overwritten"):
        export(clips_run.folder, exported["path"], to="tensorflow")


def test_a_transposed_square_weight_is_refused_and_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from newgameplus.deploy.export_formats import tensorflow_graph

    run = policy_run(place, "square", actor=[16, 16])
    plain = tensorflow_graph._plain

    def turned(tensor: torch.Tensor, *, last: bool) -> Any:
        square = tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1] == 16
        return plain(tensor.T if square else tensor, last=last)

    monkeypatch.setattr(tensorflow_graph, "_plain", turned)
    with pytest.raises(ExportError, match=r"action_logits.* off"):
        export(run.folder, tmp_path / "new" / "model", to="tensorflow")
    assert not list((tmp_path / "new").iterdir())


def test_a_memory_goes_in_and_comes_out(place: Path, tmp_path: Path) -> None:
    run = policy_run(place, "memory", memory="lstm", memory_width=16)
    done = export(run.folder, tmp_path / "policy", to="tensorflow")
    assert [one["name"] for one in done["inputs"]] == ["observation", "memory"]
    assert set(done["parity"]["outputs"]) == {"action_logits", "value", "next_memory"}


def test_numbers_over_time_leave_too(place: Path, tmp_path: Path) -> None:
    done = export(sequence_run(place, "sequence:cnn").folder, tmp_path / "sequences", to="tensorflow")
    assert done["inputs"][0]["name"] == "sequences"


def test_a_tile_network_leaves(place: Path, tmp_path: Path) -> None:
    done = export(scene_run(place).folder, tmp_path / "tiles", to="tensorflow")
    assert done["inputs"][0]["shape"] == ["batch", "tokens", 20]


@pytest.mark.parametrize("family", ["resnet", "vit", "videomae", "convnext", "mobilenet"])
def test_networks_of_transformers_leave_as_they_are(family: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = tiny_transformer(tmp_path, family)
    parity = check_parity(model, written(model, tmp_path))
    assert max(found.relative for found in parity.differences) < 1e-5


def images(channels: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((5, channels, 12, 14)).astype(np.float32)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2),
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4),
        nn.Conv2d(4, 4, (3, 5), stride=(2, 1), groups=4),
        nn.MaxPool2d(3, 2, padding=1),
        nn.AvgPool2d(3, 2, padding=1),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
        nn.AdaptiveAvgPool2d((5, 3)),
        nn.AdaptiveAvgPool2d(1),
        nn.GroupNorm(2, 4),
        nn.BatchNorm2d(4),
        nn.LayerNorm([12, 14]),
        nn.Sequential(nn.Hardswish(), nn.Hardsigmoid(), nn.SiLU(), nn.ELU(), nn.LeakyReLU(), nn.Mish()),
        nn.Sequential(nn.GELU(), nn.Softplus(), nn.GELU(approximate="tanh"), nn.Softmax(1), nn.ReLU6(), nn.Tanh()),
        nn.Sequential(nn.ZeroPad2d((1, 2, 0, 3)), nn.PixelShuffle(2), nn.Flatten(1)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_layers_answer_as_torchs_do(module: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(1)
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.5)
    model = one_input(module, images())
    check_parity(model, written(model, tmp_path))


class Lookups(nn.Module):
    """What policies do with codes: one-hot planes, embeddings, masks, negative places."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 5)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        planes = torch.zeros(codes.shape[0], 7, codes.shape[1]).scatter_(1, codes.unsqueeze(1), 1.0)
        hot = nn.functional.one_hot(codes, 7).float()
        held = self.table(codes)
        picked = held[:, torch.tensor([-1, 0])].flatten(1)
        pairs = held[:, torch.tensor([0, 1]), torch.tensor([4, -2])]
        gathered = held.gather(2, (codes % 5).unsqueeze(-1)).squeeze(-1)
        masked = held.masked_fill((codes == 0).unsqueeze(-1), 2.5).amax(dim=2)
        rolled = torch.roll(held, 1, dims=1).cumsum(1).flip(2).var(dim=2)
        whole = (codes // 2 + codes % 3).float() / 2
        parts = [planes, hot, picked, pairs, gathered, masked, rolled, whole]
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def test_lookups_answer_as_torchs_do(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 7, (6, 4))
    model = one_input(Lookups(), codes.astype(np.int64))
    check_parity(model, written(model, tmp_path))


def test_an_operation_without_a_translation_is_named(tmp_path: Path) -> None:
    class Sorted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sort(dim=1).values

    with pytest.raises(ExportError, match=r"no translation of aten\.sort") as caught:
        written(one_input(Sorted(), images()), tmp_path)
    assert "--to" in caught.value.remedy
    with pytest.raises(ExportError, match="a transposed convolution"):
        written(one_input(nn.ConvTranspose2d(4, 2, 3), images()), tmp_path)
