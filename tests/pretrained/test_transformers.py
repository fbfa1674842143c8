"""Transformers checkpoints on disk, as a user has them, become backbones that compute what the original computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import transformers
from transformers.utils import logging as transformers_logging

from newgameplus.errors import PretrainedModelError
from newgameplus.files import digest_file
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import describe_pretrained, load_pretrained, rebuild_pretrained

LABELS = {0: "attack", 1: "move", 2: "idle"}
SIZE = 32
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIZE,
    "patch_size": 8,
    "id2label": LABELS,
}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 2], "id2label": LABELS}
NORMALIZED = {"image_mean": [0.48, 0.45, 0.4], "image_std": [0.23, 0.22, 0.225], "do_center_crop": False}


def resnet_config(**more):
    return transformers.ResNetConfig(embedding_size=8, **STAGES, **more)


CONFIGS = {
    "resnet": resnet_config,
    "vit": lambda **more: transformers.ViTConfig(**TINY, **more),
    "videomae": lambda **more: transformers.VideoMAEConfig(**TINY, num_frames=4, **more),
}
CLASSIFIERS = {
    "resnet": "ResNetForImageClassification",
    "vit": "ViTForImageClassification",
    "videomae": "VideoMAEForVideoClassification",
}
BASES = {"resnet": "ResNetModel", "vit": "ViTModel", "videomae": "VideoMAEModel"}
PROCESSORS = {
    "resnet": lambda: transformers.ConvNextImageProcessorPil(size={"shortest_edge": SIZE}, crop_pct=1.0, **NORMALIZED),
    "vit": lambda: transformers.ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}),
    "videomae": lambda: transformers.VideoMAEImageProcessorPil(size={"height": SIZE, "width": SIZE}, **NORMALIZED),
}
FAMILIES = list(CONFIGS)


@pytest.fixture(autouse=True)
def _no_bars_of_save_pretrained():
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()


def save(folder: Path, family: str, class_name: str, *, processor: bool = True, **more) -> torch.nn.Module:
    """Write a checkpoint of a tiny network whose weights are far from their initial values."""
    torch.manual_seed(7)
    network = getattr(transformers, class_name)(CONFIGS[family](**more)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand_like(buffer))
    network.save_pretrained(folder)
    if processor:
        PROCESSORS[family]().save_pretrained(folder)
    return network


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory) -> dict[str, Path]:
    folders = {}
    for family in FAMILIES:
        folders[family] = tmp_path_factory.mktemp(family)
        save(folders[family], family, CLASSIFIERS[family])
    return folders


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """uint8 [2, 4, 32, 32, 3]: two walks over photographs."""
    from sklearn.datasets import load_sample_images

    walks = []
    for picture in load_sample_images().images:
        small = picture[::4, ::4]
        walks.append(np.stack([small[20 : 20 + SIZE, 10 + step * 9 : 10 + step * 9 + SIZE] for step in range(4)]))
    return np.stack(walks)


def load(folder: Path, **options) -> PretrainedModel:
    return load_pretrained(f"transformers:{folder}", options=options)


def features(model: PretrainedModel, clips: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model.backbone(torch.from_numpy(clips))


@pytest.mark.parametrize("family", FAMILIES)
def test_features_and_zero_shot_head_give_the_logits_of_the_original(family, classifiers, clips):
    network = getattr(transformers, CLASSIFIERS[family]).from_pretrained(classifiers[family]).eval()
    processor = PROCESSORS[family]()
    with torch.no_grad():
        if family == "videomae":
            pixels = processor([list(clip) for clip in clips], return_tensors="pt")["pixel_values"]
            expected = network(pixels).logits
        else:
            pixels = processor(list(clips.reshape(-1, SIZE, SIZE, 3)), return_tensors="pt")["pixel_values"]
            expected = network(pixels).logits.reshape(2, 4, 3).mean(dim=1)
    model = load(classifiers[family])
    assert model.zero_shot is not None
    assert model.zero_shot.labels == ("attack", "move", "idle")
    found = model.zero_shot.logits(features(model, clips))
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("class_name", "family"),
    [(name, family) for family in FAMILIES for name in (CLASSIFIERS[family], BASES[family])],
)
def test_shape_card_blocks_and_gradients(tmp_path, class_name, family, clips):
    save(tmp_path, family, class_name)
    model = load(tmp_path)
    backbone, card = model.backbone, model.card
    assert backbone.shape.array == (4, SIZE, SIZE, 3)
    assert card.family == family
    assert card.modality == ("clip" if family == "videomae" else "image")
    assert card.digest == digest_file(tmp_path / "model.safetensors")
    assert (model.zero_shot is None) == (class_name == BASES[family])
    assert backbone.feature_dim == card.feature_dim == (16 if family == "videomae" else 32)
    assert card.parameters == sum(parameter.numel() for parameter in backbone.parameters())

    of_blocks = [id(parameter) for block in backbone.blocks() for parameter in block.parameters()]
    assert sorted(of_blocks) == sorted(id(parameter) for parameter in backbone.parameters())
    assert len(backbone.blocks()) >= 3

    found = backbone(torch.from_numpy(clips))
    assert found.shape == (2, backbone.feature_dim)
    assert found.dtype == torch.float32
    found.square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_ordered_from_input_to_output(family, classifiers, clips):
    """What enters before a block does not depend on it: changing block k changes the output of block j >= k only."""
    backbone = load(classifiers[family]).backbone
    blocks = backbone.blocks()
    outputs: dict[int, torch.Tensor] = {}
    for index, block in enumerate(blocks):
        block.register_forward_hook(lambda _, __, output, index=index: outputs.update({index: first_tensor(output)}))

    def run() -> dict[int, torch.Tensor]:
        with torch.no_grad():
            backbone(torch.from_numpy(clips))
        return {index: output.clone() for index, output in outputs.items()}

    before = run()
    for changed in range(len(blocks)):
        saved = [parameter.detach().clone() for parameter in blocks[changed].parameters()]
        with torch.no_grad():
            for parameter in blocks[changed].parameters():
                parameter.add_(0.5)
        after = run()
        with torch.no_grad():
            for parameter, value in zip(blocks[changed].parameters(), saved, strict=True):
                parameter.copy_(value)
        assert [torch.equal(before[index], after[index]) for index in range(len(blocks))] == [
            index < changed for index in range(len(blocks))
        ]


def first_tensor(output: object) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]  # type: ignore[index]


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_is_the_same_architecture_with_other_weights_by_the_global_seed(family, classifiers):
    name = f"transformers:{classifiers[family]}"
    loaded = load_pretrained(name).backbone.state_dict()
    torch.manual_seed(3)
    fresh = load_pretrained(name, fresh=True)
    torch.manual_seed(3)
    again = load_pretrained(name, fresh=True).backbone.state_dict()
    assert fresh.zero_shot is None
    assert fresh.card.labels == ()
    state = fresh.backbone.state_dict()
    assert {key: value.shape for key, value in state.items()} == {key: value.shape for key, value in loaded.items()}
    assert all(torch.equal(state[key], again[key]) for key in state)
    weights = [key for key, value in loaded.items() if value.dim() > 1]
    assert all(not torch.equal(state[key], loaded[key]) for key in weights)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_description_is_the_card_of_the_loaded_model_and_needs_no_weights(family, classifiers, tmp_path):
    whole, bare = load(classifiers[family]).card, tmp_path / "bare"
    bare.mkdir()
    for path in classifiers[family].glob("*.json"):
        (bare / path.name).write_bytes(path.read_bytes())
    described = describe_pretrained(f"transformers:{bare}")
    names = {"name": whole.name, "digest": whole.digest, "description": whole.description}
    assert ModelCard(**{**vars(described), **names}) == whole


def test_fresh_needs_no_weights_in_the_folder(tmp_path):
    save(tmp_path, "vit", "ViTForImageClassification")
    (tmp_path / "model.safetensors").unlink()
    assert load_pretrained(f"transformers:{tmp_path}", fresh=True).backbone.feature_dim == 32


@pytest.mark.parametrize(
    ("class_name", "family"),
    [(name, family) for family in FAMILIES for name in (CLASSIFIERS[family], BASES[family])],
)
def test_card_and_weights_rebuild_the_backbone_without_the_folder(tmp_path, class_name, family, clips):
    save(tmp_path, family, class_name)
    model = load(tmp_path)
    card = ModelCard.from_dict(json.loads(json.dumps(model.card.as_dict())))
    for path in tmp_path.iterdir():
        path.unlink()
    rebuilt = rebuild_pretrained(card)
    rebuilt.backbone.load_state_dict(model.backbone.state_dict())
    assert rebuilt.card == card
    assert torch.equal(features(rebuilt, clips), features(model, clips))


def test_working_in_pieces_gives_the_same_features(classifiers, clips, monkeypatch):
    for family in FAMILIES:
        model = load(classifiers[family])
        whole = features(model, clips)
        monkeypatch.setattr("newgameplus.pretrained.pixel_backbone._PIXELS_AT_ONCE", SIZE * SIZE)
        torch.testing.assert_close(features(model, clips), whole, atol=1e-5, rtol=1e-5)
        monkeypatch.undo()


def test_image_models_see_the_order_of_frames_unless_told_to_take_the_mean(classifiers, clips):
    backwards = np.ascontiguousarray(clips[:, ::-1])
    moving, still = load(classifiers["resnet"]), load(classifiers["resnet"], pooling="mean")
    assert (features(moving, clips) - features(moving, backwards)).abs().max() > 1e-2
    torch.testing.assert_close(features(still, clips), features(still, backwards))


def test_the_largest_feature_over_time_has_no_zero_shot_head(classifiers):
    model = load(classifiers["resnet"], pooling="max")
    assert model.zero_shot is None
    assert model.backbone.feature_dim == 16


def test_frames_and_size_can_be_chosen_where_the_network_can(classifiers):
    shape = load(classifiers["resnet"], frames=2, height=48, width=64).backbone.shape
    assert shape.array == (2, 48, 64, 3)
    model = load(classifiers["vit"], height=48, width=48)
    larger = torch.zeros(1, *model.backbone.shape.array, dtype=torch.uint8)
    assert model.backbone(larger).shape == (1, 32)


@pytest.mark.parametrize(
    "options", [{"height": 48}, {"frames": 8}, {"frames": 0}, {"width": -3}, {"frames": "four"}, {"height": 32.0}]
)
def test_frames_and_size_that_the_network_cannot_take_are_refused(classifiers, options):
    with pytest.raises(PretrainedModelError) as caught:
        load(classifiers["videomae"], **options)
    assert caught.value.remedy


def test_poolings_that_make_no_sense_are_refused(classifiers):
    with pytest.raises(PretrainedModelError, match="nothing to pool"):
        load(classifiers["videomae"], pooling="mean")
    with pytest.raises(PretrainedModelError, match="'maen'") as caught:
        load(classifiers["vit"], pooling="maen")
    assert "did you mean 'mean'" in str(caught.value)
    with pytest.raises(PretrainedModelError, match="one frame does not change"):
        load(classifiers["vit"], pooling="mean-change", frames=1)
    assert load(classifiers["vit"], frames=1).backbone.pooling == "mean"


def test_a_grey_network_takes_grey_clips(tmp_path):
    save(tmp_path, "resnet", "ResNetForImageClassification", num_channels=1)
    model = load(tmp_path)
    assert model.backbone.shape.array == (4, SIZE, SIZE, 1)
    assert model.backbone(torch.zeros(2, 4, SIZE, SIZE, 1, dtype=torch.uint8)).shape == (2, 32)


def test_a_network_of_other_channels_is_refused(tmp_path):
    save(tmp_path, "resnet", "ResNetForImageClassification", num_channels=5)
    with pytest.raises(PretrainedModelError, match="5 channels"):
        load(tmp_path)


def test_weights_saved_by_halves_are_computed_in_float32(tmp_path, clips):
    network = save(tmp_path, "vit", "ViTForImageClassification")
    network.half().save_pretrained(tmp_path)
    model = load(tmp_path)
    assert {parameter.dtype for parameter in model.backbone.parameters()} == {torch.float32}
    assert features(model, clips).dtype == torch.float32


def test_shards_are_read_and_missing_ones_named(tmp_path, clips):
    network = save(tmp_path, "vit", "ViTForImageClassification")
    whole = features(load(tmp_path), clips)
    (tmp_path / "model.safetensors").unlink()
    network.save_pretrained(tmp_path, max_shard_size="8KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert torch.equal(features(load(tmp_path), clips), whole)
    shards[-1].unlink()
    with pytest.raises(PretrainedModelError, match=f"1 of {len(shards)} weights files are missing: {shards[-1].name}"):
        load(tmp_path)


def test_the_licence_comes_from_the_model_card(tmp_path):
    save(tmp_path, "vit", "ViTModel")
    assert load(tmp_path).card.license == "unknown"
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ntags: [vision]\n---\n# A model\n")
    assert load(tmp_path).card.license == "apache-2.0"
    (tmp_path / "README.md").write_text("---\nlicense: [unclosed\n---\n")
    assert load(tmp_path).card.license == "unknown"


def test_a_pooler_without_weights_is_not_used(tmp_path, clips):
    """AutoModel would make a random pooler for a checkpoint without one; its output would pass for features."""
    save(tmp_path, "vit", "ViTForMaskedImageModeling")
    model = load(tmp_path)
    assert model.backbone.features == "last_hidden_state"
    assert torch.equal(features(model, clips), features(load(tmp_path), clips))
    assert "decoder.0.weight" in model.card.facts["unused_weights"]


MORE = {
    "ConvNextForImageClassification": (lambda: transformers.ConvNextConfig(num_stages=2, **STAGES), True),
    "Dinov2ForImageClassification": (lambda: transformers.Dinov2Config(**TINY), True),
    "SwinForImageClassification": (
        lambda: transformers.SwinConfig(
            image_size=SIZE, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, id2label=LABELS
        ),
        True,
    ),
    "MobileNetV2ForImageClassification": (
        lambda: transformers.MobileNetV2Config(depth_multiplier=0.35, id2label=LABELS),
        True,
    ),
    "TimesformerForVideoClassification": (lambda: transformers.TimesformerConfig(**TINY, num_frames=4), True),
    "DeiTForImageClassificationWithTeacher": (lambda: transformers.DeiTConfig(**TINY), False),
    "ResNetBackbone": (resnet_config, False),
    "ViTMAEForPreTraining": (
        lambda: transformers.ViTMAEConfig(
            **TINY,
            decoder_num_hidden_layers=1,
            decoder_hidden_size=16,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=16,
        ),
        False,
    ),
    "CLIPVisionModel": (
        lambda: transformers.CLIPVisionConfig(**{key: TINY[key] for key in TINY if key != "id2label"}),
        False,
    ),
}


@pytest.mark.parametrize("class_name", MORE)
def test_other_families_work_without_being_known(tmp_path, class_name, clips):
    make_config, has_head = MORE[class_name]
    torch.manual_seed(0)
    getattr(transformers, class_name)(make_config()).save_pretrained(tmp_path)
    model = load(tmp_path, height=SIZE, width=SIZE)
    assert (model.zero_shot is not None) == has_head
    found = features(model, clips)
    assert found.shape == (2, model.backbone.feature_dim)
    assert not torch.equal(found[0], found[1])
    of_blocks = [id(parameter) for block in model.backbone.blocks() for parameter in block.parameters()]
    assert sorted(of_blocks) == sorted(id(parameter) for parameter in model.backbone.parameters())


def test_nothing_is_printed_on_loading(classifiers, capfd):
    for family in FAMILIES:
        load(classifiers[family])
    assert capfd.readouterr() == ("", "")


def test_a_checkpoint_without_preprocessing_says_what_is_assumed(tmp_path, capfd):
    save(tmp_path, "vit", "ViTModel", processor=False)
    model = load(tmp_path)
    assert model.backbone.shape.array == (4, SIZE, SIZE, 3)
    assert "assuming ImageNet" in capfd.readouterr().err
    assert load(tmp_path, mean=0.5, std=[0.5] * 3).backbone.mean.tolist() == [0.5] * 3
    assert capfd.readouterr().err == ""
