"""Keras models become backbones that compute what Keras computes, freeze for good, and never run what a file holds."""

from __future__ import annotations

import copy
import inspect
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from newgameplus.errors import MissingExtraError, PretrainedModelError
from newgameplus.files import digest_file
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import describe_pretrained, load_pretrained, rebuild_pretrained
from newgameplus.pretrained.keras_applications import preprocessing_of
from newgameplus.pretrained.keras_library import import_keras, quiet_keras
from newgameplus.pretrained.keras_network import KerasNetwork
from newgameplus.pretrained.pixel_backbone import normalize

try:
    keras = import_keras()
except MissingExtraError:
    pytest.skip("Keras is not installed", allow_module_level=True)
layers = keras.layers
SIZE = 24


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 [2, 4, 24, 24, 3]: two walks over photographs."""
    from sklearn.datasets import load_sample_images

    walks = [
        np.stack([small[20 : 20 + SIZE, 10 + step * 9 : 10 + step * 9 + SIZE] for step in range(4)])
        for small in (picture[::4, ::4] for picture in load_sample_images().images)
    ]
    return np.stack(walks)


def build(kind: str = "functional"):
    """Build a small model with a residual, a depthwise and a dilated convolution, and states far from the start."""
    with quiet_keras():
        inputs = keras.Input((SIZE, SIZE, 3))
        x = layers.Rescaling(1 / 127.5, offset=-1)(inputs) if kind != "plain" else inputs
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, use_bias=False)(x)
        y = layers.Conv2D(8, 3, dilation_rate=2, padding="same", groups=2)(layers.ReLU()(y))
        x = layers.Add()([x, y])
        if kind == "generic":
            x = layers.SeparableConv2D(8, 3, padding="same")(x)
            x = layers.BatchNormalization(scale=False)(x)
            x = layers.LayerNormalization()(x)
            x = layers.UnitNormalization()(x)
        if kind == "nested":
            inner = keras.Sequential([keras.Input(x.shape[1:]), layers.Conv2D(8, 2), layers.BatchNormalization()])
            x = inner(x, training=False)
        x = layers.GlobalAveragePooling2D()(x)
        x = layers.Dropout(0.5)(layers.Dense(10, activation="gelu")(x))
        model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    generator = torch.Generator().manual_seed(1)
    for variable in model.variables:
        if "float" in variable.dtype:
            variable.assign(variable.value + 0.3 * torch.rand(variable.shape, generator=generator))
    return model


def saved(folder: Path, kind: str = "functional", name: str = "own.keras") -> Path:
    with quiet_keras():
        build(kind).save(folder / name)
    return folder / name


def load(path: object, **options) -> PretrainedModel:
    return load_pretrained(f"keras:{path}", options=options)


def refusal(path: object, **options) -> PretrainedModelError:
    with pytest.raises(PretrainedModelError) as caught:
        load(path, **options)
    assert all(problem.source and problem.remedy for problem in caught.value.problems)
    return caught.value


def features(model: PretrainedModel, clips: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model.backbone(torch.from_numpy(clips))


@pytest.mark.parametrize("kind", ["functional", "generic", "nested", "plain"])
@pytest.mark.parametrize("name", ["own.keras", "own.h5"])
def test_features_and_head_give_the_probabilities_of_keras(tmp_path, kind, name, pictures):
    path = saved(tmp_path, kind, name)
    original = keras.saving.load_model(path, compile=False)
    pixels = torch.from_numpy(pictures.reshape(-1, SIZE, SIZE, 3)).float()
    with torch.no_grad():
        expected = original(pixels / 255 if kind == "plain" else pixels, training=False).reshape(2, 4, 3)
    model = load(path, frames=1)
    found = torch.stack(
        [model.zero_shot.logits(features(model, pictures[:, [t]])).softmax(dim=1) for t in range(4)], dim=1
    )
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert model.card.digest == digest_file(path)
    assert model.zero_shot.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize("name", ["ResNet50", "VGG16"])
def test_networks_of_applications_give_the_features_of_keras(name, pictures):
    size = 32
    clips = np.ascontiguousarray(np.pad(pictures, ((0, 0), (0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")[:1, :2])
    model = load(name, weights="none", height=size, width=size, frames=2, pooling="mean")
    application = getattr(keras.applications, name)
    with quiet_keras():
        original = application(weights=None, include_top=False, input_shape=(size, size, 3))
        state = model.backbone.network.state_dict()
        again = KerasNetwork(keras.Model(original.inputs, original.outputs))
        again.load_state_dict(dict(zip(again.state_dict(), state.values(), strict=True)))
        _give_back(again, original)
        eaten = inspect.getmodule(application).preprocess_input(clips.reshape(-1, size, size, 3).astype(np.float32))
        with torch.no_grad():
            expected = original(eaten, training=False).mean(dim=(1, 2)).mean(dim=0, keepdim=True)
    found = features(model, clips)
    assert expected.std() > 1e-4
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)
    assert model.card.parameters == sum(
        variable.value.numel() for variable in original.variables if "moving" not in variable.path
    )
    assert len(model.backbone.blocks()) == {"ResNet50": 17, "VGG16": 13}[name]


def _give_back(network: KerasNetwork, original) -> None:
    """Put the weights of a torch network back into the Keras model it was made of."""
    modules = {name: module for block in network.blocks for name, module in block.items()}
    for layer in original.layers:
        module = modules.get(layer.name)
        if isinstance(layer, layers.Conv2D):
            layer.kernel.assign(module.convolution.weight.detach().permute(2, 3, 1, 0))
            layer.bias.assign(module.convolution.bias.detach())
        elif isinstance(layer, layers.BatchNormalization):
            norm = module.norm
            for variable, value in zip(
                (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance),
                (norm.weight, norm.bias, norm.running_mean, norm.running_var),
                strict=True,
            ):
                variable.assign(value.detach())


@pytest.mark.parametrize("name", ["ResNet50", "VGG16", "MobileNetV2", "DenseNet121", "ConvNeXtTiny", "EfficientNetB0"])
def test_pixels_are_prepared_as_keras_does(name, pictures):
    function = inspect.getmodule(getattr(keras.applications, name)).preprocess_input
    with quiet_keras():
        expected = np.asarray(function(pictures.reshape(-1, SIZE, SIZE, 3).astype(np.float32)))
    settings = preprocessing_of(name, (SIZE, SIZE))
    mean, std = torch.tensor(settings.mean), torch.tensor(settings.std)
    found = normalize(torch.from_numpy(pictures.reshape(-1, SIZE, SIZE, 3)), settings, mean, std, "hwc")
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("kind", ["functional", "generic"])
def test_frozen_statistics_stay_bit_equal_and_moving_ones_move(tmp_path, kind, pictures):
    backbone = load(saved(tmp_path, kind)).backbone
    blocks = backbone.blocks()
    statistics = {
        name: value.clone() for name, value in backbone.state_dict().items() if "running" in name or "moving" in name
    }
    assert len(statistics) == (2 if kind == "functional" else 4)
    assert not any("running" in name or "moving" in name for name, _ in backbone.named_parameters())

    def run() -> dict[str, bool]:
        optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
        backbone(torch.from_numpy(pictures)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        state = backbone.state_dict()
        moved = {name: not torch.equal(state[name], value) for name, value in statistics.items()}
        statistics.update({name: state[name].clone() for name in statistics})
        return moved

    backbone.train()
    for block in blocks[:-1]:
        block.requires_grad_(False).eval()
    assert not any(run().values())
    blocks[0].train()
    moved = run()
    assert all(value == ("blocks.0." in name) for name, value in moved.items())
    backbone.requires_grad_(True).train()
    assert all(run().values())


def test_statistics_move_as_keras_moves_them(tmp_path, pictures):
    path = saved(tmp_path)
    original = keras.saving.load_model(path, compile=False)
    pixels = pictures.reshape(-1, SIZE, SIZE, 3).astype(np.float32)
    before = next(v for v in original.variables if "moving_mean" in v.path).value.numpy(force=True).copy()
    with torch.no_grad():
        original(pixels, training=True)
    expected = {v.path.rpartition("/")[2]: v.value.numpy(force=True) for v in original.variables if "moving" in v.path}
    backbone = load(path).backbone.train()
    features(PretrainedModel(None, backbone), pictures)
    state = {name.rpartition(".")[2]: value.numpy() for name, value in backbone.state_dict().items()}
    assert np.abs(expected["moving_mean"] - before).max() > 1e-4
    np.testing.assert_allclose(state["running_mean"], expected["moving_mean"], rtol=1e-5)
    # Torch divides the variance of a batch by one less than Keras does: 8 x 12 x 12 numbers here.
    np.testing.assert_allclose(state["running_var"], expected["moving_variance"], rtol=1e-4)


def test_every_parameter_is_in_one_block_and_gets_a_gradient(tmp_path, pictures):
    for kind in ("functional", "generic", "nested"):
        backbone = load(saved(tmp_path, kind)).backbone
        of_blocks = [id(parameter) for block in backbone.blocks() for parameter in block.parameters()]
        assert sorted(of_blocks) == sorted(id(parameter) for parameter in backbone.parameters())
        backbone(torch.from_numpy(pictures)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_card_and_weights_rebuild_it_without_the_file(tmp_path, pictures):
    for kind in ("functional", "generic", "nested"):
        path = saved(tmp_path, kind)
        model = load(path)
        path.unlink()
        rebuilt = rebuild_pretrained(ModelCard.from_dict(json.loads(json.dumps(model.card.as_dict()))))
        rebuilt.backbone.load_state_dict(model.backbone.state_dict())
        assert torch.equal(features(rebuilt, pictures), features(model, pictures))
        twin = copy.deepcopy(model.backbone)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.add_(1.0)
        assert torch.equal(features(rebuilt, pictures), features(model, pictures))


def test_fresh_weights_follow_the_global_seed(tmp_path):
    path = saved(tmp_path)
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        model = load_pretrained(f"keras:{path}", fresh=True)
        states.append(model.backbone.state_dict())
    key = next(key for key in states[0] if key.endswith("weight"))
    assert model.zero_shot is None
    assert model.card.labels == ()
    assert torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[0][key], states[2][key])


def test_a_description_reads_no_weights(tmp_path):
    whole = load(saved(tmp_path)).card
    described = describe_pretrained(f"keras:{tmp_path / 'own.keras'}")
    same = {"digest": whole.digest, "facts": whole.facts}
    assert ModelCard(**{**vars(described), **same}) == whole


def test_a_model_says_by_its_layers_what_it_eats_or_it_is_assumed_and_said(tmp_path, capfd):
    assert load(saved(tmp_path)).backbone.preprocessing.factor == 1.0
    assert "assuming" not in capfd.readouterr().err
    path = saved(tmp_path, "plain", "plain.keras")
    assert load(path).backbone.preprocessing.factor == pytest.approx(1 / 255)
    assert "assuming numbers from 0 to 1" in capfd.readouterr().err
    assert load(path, preprocessing="caffe").backbone.preprocessing.reverse_channels
    assert load(path, mean="0.5, 0.4, 0.3", std=0.2).backbone.mean.tolist() == pytest.approx([0.5, 0.4, 0.3])


def test_code_in_a_file_is_refused_all_of_it_at_once_and_never_run(tmp_path):
    trace = tmp_path / "ran"
    place = str(trace)
    with quiet_keras():
        model = keras.Sequential(
            [
                keras.Input((SIZE, SIZE, 3)),
                layers.Lambda(lambda x: x + 1, name="plus"),
                layers.Lambda(lambda x: [x, open(place, "w").close()][0], name="trace"),
                layers.Flatten(),
                layers.Dense(2),
            ]
        )
        trace.unlink()
        model.save(tmp_path / "code.keras")
        model.save(tmp_path / "code.h5")
    for name in ("code.keras", "code.h5"):
        error = refusal(tmp_path / name)
        assert len(error.problems) == 2
        assert "Python code, which is never run: plus" in str(error)
    assert not trace.exists()


def test_layers_of_the_author_s_own_are_named(tmp_path):
    class Own(layers.Layer):
        def call(self, inputs):
            return inputs

    with quiet_keras():
        keras.Sequential([keras.Input((SIZE, SIZE, 3)), Own(), layers.Flatten(), layers.Dense(2)]).save(
            tmp_path / "custom.keras"
        )
    error = refusal(tmp_path / "custom.keras")
    assert "Own" in error.message
    assert "checkpoint:FILE" in error.remedy


def change_member(path: Path, member: str, change) -> None:
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents[member] = change(contents[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("version", "remedy"), [("99.1.0", "pip install -U"), ("2.15.0", "tf-keras"), ("3.1.0", "save it again")]
)
def test_a_file_of_another_version_says_so_and_what_to_do(tmp_path, version, remedy):
    path = saved(tmp_path)
    metadata = json.dumps({"keras_version": version, "date_saved": ""}).encode()
    change_member(path, "metadata.json", lambda _: metadata)
    assert load(path).card.description.endswith(version)  # what can be read is read
    change_member(path, "config.json", lambda text: text.replace(b'"filters"', b'"channels_out"'))
    error = refusal(path)
    assert f"Keras {version} wrote this" in error.message
    assert remedy in error.remedy


def test_files_that_are_damaged_or_no_models(tmp_path):
    path = saved(tmp_path)
    assert "did you mean" in refusal(tmp_path / "own.kera.keras").remedy
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:size])
        refusal(path)
    path.write_bytes(whole)
    change_member(path, "config.json", lambda _: b"{")
    assert "not readable JSON" in refusal(path).message
    with quiet_keras():
        build().save_weights(tmp_path / "own.weights.h5")
    assert "weights alone" in refusal(tmp_path / "own.weights.h5").message
    (tmp_path / "text.h5").write_text("no weights")
    assert "no HDF5 file" in refusal(tmp_path / "text.h5").message
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    assert "SavedModel" in refusal(tmp_path / "saved").message


def test_weights_that_are_no_numbers_and_models_of_other_things(tmp_path):
    with quiet_keras():
        model = build()
        model.layers[2].kernel.assign(torch.full_like(model.layers[2].kernel.value, float("nan")))
        model.save(tmp_path / "nan.keras")
        words = keras.Sequential([keras.Input((7,)), layers.Dense(3), layers.Dense(2)])
        words.save(tmp_path / "words.keras")
        one, two = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
        keras.Model([one, two], layers.Flatten()(layers.Add()([one, two]))).save(tmp_path / "two.keras")
    assert "NaN" in refusal(tmp_path / "nan.keras").message
    assert "New Game+ has grey (1) or colour (3)" in refusal(tmp_path / "words.keras").message
    assert "2 inputs" in refusal(tmp_path / "two.keras").message


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("ResNet51", {}, "did you mean 'ResNet50'"),
        ("ResNet50", {"weights": "imagenot"}, "is no file"),
        ("ResNet50", {"weights": "none", "height": 8, "width": 8}, "cannot build ResNet50"),
        ("ResNet50", {"weights": "none", "frames": 0}, "frames is 0"),
    ],
)
def test_names_and_options_that_cannot_be_used(name, options, expected):
    assert expected in str(refusal(name, **options))


def test_without_network_or_cache_it_names_the_file_that_is_missing(tmp_path, monkeypatch):
    import socket

    def refuse(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    error = refusal("VGG16", height=32, width=32)
    assert "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 is missing" in error.message
    assert str(tmp_path / "models") in error.remedy


def test_a_fixed_size_is_not_changed(tmp_path):
    assert "height is 64, but this model takes 24" in refusal(saved(tmp_path), height=64).message


def test_without_keras_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingExtraError) as caught:
        load("ResNet50")
    assert caught.value.remedy == 'pip install "newgameplus[keras]"'


def test_keras_on_another_backend_is_told_from_the_start(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "numpy")
    error = refusal("ResNet50")
    assert "'numpy'" in error.message
    assert "KERAS_BACKEND=torch" in error.remedy


@pytest.mark.slow
def test_the_backend_is_chosen_before_keras_is_imported():
    code = (
        "import os; os.environ['KERAS_BACKEND'] = 'numpy'\n"
        "from newgameplus.pretrained.keras_library import import_keras; print(import_keras().config.backend())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert found.stdout.strip() == "torch"
