"""Small finished runs of the three scenarios, to export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.agent_runs import agent_run
from tests.recordings import record
from tests.scene_maps import quick_recipe, write_text_maps
from tests.sequence_files import write_folder
from torch import nn

from newgameplus.adapt.classifier import ClipClassifier
from newgameplus.deploy.export_models.behavior import ClipAnswers
from newgameplus.deploy.exportable import Exportable, ExportedInput, ExportedOutput
from newgameplus.finetune import fit
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.recipe import Recipe
from newgameplus.run import Run


def behavior_run(place: Path) -> Run:
    """Fit a behavior run on a few small videos."""
    clips = record(place / "clips", videos=4, seed=0)
    content: dict[str, Any] = {
        "data": {"path": str(clips), "test": 0.5, "validation": 0.0},
        "train": {"epochs": 2, "batch_size": 16, "threads": 1},
        "evaluate": {"baselines": [], "resamples": 100},
    }
    return fit(Recipe.model_validate(content), place / "behavior")


def sequence_run(place: Path, start: str) -> Run:
    """Fit a behavior run on a few small tables of numbers over time."""
    data = write_folder(place / start.replace(":", "-"), each=6, seed=0)
    content: dict[str, Any] = {
        "data": {"path": str(data), "test": 0.4, "validation": 0.0},
        # Torch computes the shapes within a recurrent layer step by step, three times: 64 steps take it 20 seconds.
        "model": {"start": start, "options": {"steps": 6}},
        "train": {"epochs": 1, "batch_size": 16, "threads": 1},
        "evaluate": {"baselines": [], "resamples": 100},
    }
    return fit(Recipe.model_validate(content), place / f"run-{start.replace(':', '-')}")


def policy_run(place: Path, name: str, **model: Any) -> Run:
    """Fit an agent run that hardly learns."""
    train = {"steps": 256, "checkpoints": 2}
    return agent_run(place, name, train=train, evaluate={"episodes": 2, "baselines": []}, model=model)


def scene_run(place: Path) -> Run:
    """Fit a scene run of a few steps."""
    write_text_maps(place / "maps", "platformer", 5, height=12, width=40)
    recipe = quick_recipe(
        place / "maps", place, rules="platformer", name="text", evaluate={"deliver": 0, "requests": 0}
    )
    return fit(recipe, place / "scene")


def tiny_transformer(place: Path, family: str) -> Exportable:
    """Return a classifier on a tiny Transformers network whose weights are far from their initial values."""
    import transformers

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    pictures = {"image_size": 32, "patch_size": 8}
    made: dict[str, tuple[str, str, dict[str, Any]]] = {
        "resnet": ("ResNetForImageClassification", "ResNetConfig",
                   {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]}),
        "vit": ("ViTForImageClassification", "ViTConfig", small | pictures),
        "videomae": ("VideoMAEForVideoClassification", "VideoMAEConfig", small | pictures | {"num_frames": 4}),
        "convnext": ("ConvNextForImageClassification", "ConvNextConfig",
                     {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2}),
        "mobilenet": ("MobileNetV2ForImageClassification", "MobileNetV2Config",
                      {"depth_multiplier": 0.35, "image_size": 32}),
    }  # fmt: skip
    network_name, config_name, settings = made[family]
    torch.manual_seed(0)
    network = getattr(transformers, network_name)(getattr(transformers, config_name)(**settings))
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    folder = place / family
    network.save_pretrained(folder)
    preparing = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(preparing))
    start = load_pretrained(f"transformers:{folder}", options={} if family == "videomae" else {"frames": 2})
    classifier = ClipClassifier(start.backbone, ["jump", "run", "stand"])
    nn.init.normal_(classifier.head.linear.weight, std=0.3)
    shape = start.card.shape.array
    pictures_seen = photographs(9 * shape[0], shape[1], shape[2]).reshape(9, *shape)
    return Exportable(
        ClipAnswers(classifier).eval(),
        (ExportedInput("clips", "uint8", shape, "photographs"),),
        (ExportedOutput("logits", "", (3,)), ExportedOutput("probabilities", "", (3,))),
        {"clips": pictures_seen},
        "photographs",
        source=family,
    )


def photographs(count: int, height: int, width: int) -> np.ndarray:
    """Return uint8 [count, height, width, 3] cut out of photographs."""
    from sklearn.datasets import load_sample_images

    pictures = load_sample_images().images
    generator = np.random.default_rng(0)
    cuts = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        row, column = (int(generator.integers(0, picture.shape[n] - 4 * size)) for n, size in ((0, height), (1, width)))
        cuts.append(picture[row : row + 4 * height : 4, column : column + 4 * width : 4])
    return np.stack(cuts)
