"""Candidates to choose from, made here: small networks of several families, each pretrained for a minute or so.

Nothing can be downloaded where this was measured, so hub models are stood in for by their architectures at 0.1 to 0.8
million weights, pretrained from random weights on what an engine recorded (which action was held: inverse dynamics;
for those that see a clip as a whole also the order of its frames). They are saved as a user's would be: folders of
Transformers (``transformers:FOLDER``) and what ``ngp pretrain`` leaves (``run:FOLDER``). One is a decoy with random
weights.

    python benchmarks/model_zoo.py --out results-choose
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine_clips import FRAMES, HEIGHT, LABELS, WIDTH, WINDOW, Stream, doom_stream, endless, grid_stream, joined
from newgameplus import progress
from newgameplus.files import digest_file, write_json
from newgameplus.pretrained.backbone import Backbone
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.clip_network import ClipNetwork
from newgameplus.shapes import ClipShape
from newgameplus.tensors import save_tensors
from newgameplus.train.objective_learner import pretrain
from newgameplus.train.selfsupervision import Augmentation, InverseDynamics, Objective, TemporalOrder

SOURCE_MAPS = ("freedoom2:MAP01", "freedoom2:MAP06", "freedoom2:MAP09", "freedoom2:MAP13", "freedoom1:E1M1",
               "freedoom1:E1M3", "freedoom1:E2M1", "freedoom1:E3M1")  # fmt: skip
GRID_GAMES = ("MiniGrid-Empty-Random-6x6-v0", "MiniGrid-SimpleCrossingS9N1-v0", "MinAtar/Breakout-v1")
GRID_LABELS = ("left", "right", "forward", "pickup", "toggle", "stay")
SHAPE = ClipShape(FRAMES, HEIGHT, WIDTH, 1, WINDOW)


@dataclass(frozen=True)
class Made:
    """How one candidate is made.

    Attributes:
        key: Short name, for tables and folders.
        family: Model type of Transformers, or ``clip-cnn``.
        config: Its configuration; width and feature_dim of a clip network.
        steps: Steps of pretraining, 64 clips each: about 25 to 60 seconds of one core.
        source: ``doom``, ``one-map`` or ``grid``; empty: random weights, not pretrained.
    """

    key: str
    family: str
    config: dict[str, Any]
    steps: int
    source: str = "doom"


_TOKENS = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 192}
_RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1], "layer_type": "basic"}
ZOO = (
    Made("clip-cnn one map", "clip-cnn", {"width": 12, "feature_dim": 96}, 400, "one-map"),
    Made("clip-cnn grids", "clip-cnn", {"width": 12, "feature_dim": 96}, 200, "grid"),
    Made("resnet", "resnet", _RESNET, 300),
    Made("convnext", "convnext", {"hidden_sizes": [24, 48, 96, 128], "depths": [1, 1, 2, 1], "patch_size": 4}, 200),
    Made("vit", "vit", {**_TOKENS, "image_size": [HEIGHT, WIDTH], "patch_size": 16}, 350),
    Made(
        "videomae",
        "videomae",
        {**_TOKENS, "image_size": [HEIGHT, WIDTH], "patch_size": 16, "num_frames": FRAMES, "tubelet_size": 2},
        350,
    ),
    Made("resnet random", "resnet", _RESNET, 0, ""),
)
_CLASSES = {"resnet": "ResNetModel", "convnext": "ConvNextModel",
            "vit": "ViTModel", "videomae": "VideoMAEModel"}  # fmt: skip
_RATES = {"vit": 1e-3, "videomae": 1e-3, "convnext": 1e-3}


def make_zoo(out: Path, *, episodes: int = 8, most: int = 100_000) -> dict[str, str]:
    """Make all candidates that are not there yet, and return their full names by short name."""
    names = {"doom-clips": "bundled:doom-clips"}
    for made in ZOO:
        folder = out / "zoo" / made.key.replace(" ", "-")
        if not (folder / "made.json").exists():
            write_json(folder / "made.json", _make(made, folder, out, episodes, most))
        names[made.key] = f"{'run' if made.family == 'clip-cnn' else 'transformers'}:{folder}"
    return names


def _make(made: Made, folder: Path, out: Path, episodes: int, most: int) -> dict[str, Any]:
    torch.manual_seed(7)
    if made.family == "clip-cnn":
        backbone: Backbone = ClipNetwork(SHAPE, **made.config)
    else:
        _write_random(made, folder)
        backbone = load_pretrained(f"transformers:{folder}").backbone
    about: dict[str, Any] = {"family": made.family, "source": made.source}
    if made.source:
        labels, stream = _recorded(made, out, episodes)
        rate = _RATES.get(made.family, 2e-3)
        about |= train_backbone(backbone, stream, labels, steps=min(made.steps, most), rate=rate)
    if made.family == "clip-cnn":
        save_run(folder, backbone, made.key)
    else:
        _network(backbone).save_pretrained(folder)
    return about | {"parameters": sum(p.numel() for p in backbone.parameters())}


def _recorded(made: Made, out: Path, episodes: int) -> tuple[Sequence[str], Stream]:
    recordings = out / "recordings"
    if made.source == "grid":
        return GRID_LABELS, joined([grid_stream(GRID_GAMES, GRID_LABELS, 40 * episodes * 4, recordings)], grey=True)
    if made.source == "one-map":
        return LABELS, joined([doom_stream(SOURCE_MAPS[0], episodes, recordings)], grey=True)
    each = max(1, episodes // 2)
    return LABELS, joined([doom_stream(name, each, recordings) for name in SOURCE_MAPS], grey=False)


def train_backbone(
    backbone: Backbone,
    stream: Stream,
    labels: Sequence[str],
    *,
    steps: int,
    rate: float,
    games: Sequence[str] = (),
    seed: int = 7,
    batch: int = 64,
    order: bool | None = None,
    keep: Callable[[InverseDynamics], None] | None = None,
) -> dict[str, Any]:
    """Pretrain a backbone on a stream; return what was done.

    Args:
        backbone: Changed in place.
        stream: What to learn from.
        labels: Names of its actions.
        steps: How many.
        rate: Highest learning rate.
        games: Augmentations for games, by name.
        seed: Of batches, augmentation and heads.
        batch: Clips in a step.
        order: Learn the order of frames too; by default where the network sees them together.
        keep: Given the objective that knows the actions, when all is done.
    """
    generator = torch.Generator().manual_seed(seed)
    augment = Augmentation(generator, games=games)
    inverse = InverseDynamics(labels, backbone.feature_dim, augment, generator)
    objectives: dict[Objective, float] = {inverse: 1.0}
    if order is None:
        order = getattr(backbone, "pooling", None) is None
    if order:
        objectives[TemporalOrder(FRAMES, backbone.feature_dim, augment, generator)] = 0.5
    rows: list[dict[str, Any]] = []
    began = time.process_time()
    done = pretrain(backbone, objectives, endless(stream, batch, seed), steps=steps, learning_rate=rate,
                    half_precision=False, average=0.99, each=rows.append, every=20)  # fmt: skip
    if keep:
        keep(inverse)
    losses = rows[-1]["losses"] if rows else {}
    spent = round(time.process_time() - began, 1)
    return {"steps": done, "holds": len(stream.holds), "cpu_seconds": spent, "losses": losses}


def save_run(folder: Path, backbone: Backbone, key: str) -> None:
    """Write a clip network as ``ngp pretrain`` does."""
    path = folder / "model" / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, {name: value.detach().contiguous() for name, value in backbone.state_dict().items()})
    card = ModelCard(
        name=f"bundled:{key.replace(' ', '-')}",
        family="clip-cnn",
        modality="clip",
        parameters=sum(p.numel() for p in backbone.parameters()),
        feature_dim=backbone.feature_dim,
        shape=backbone.shape,
        license="Apache-2.0",
        facts={"width": backbone.width},
    )
    content = {"schema": 1, "kind": "pretrained", "digest": digest_file(path), "start": card.as_dict(), "training": {}}
    write_json(path.with_name("card.json"), content)


def _write_random(made: Made, folder: Path) -> None:
    """Write a checkpoint of Transformers with random weights, and what its pictures are like."""
    import transformers

    kind = getattr(transformers, _CLASSES[made.family])
    options = {"add_pooling_layer": False} if made.family == "vit" else {}
    kind(kind.config_class(**made.config), **options).save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    size = {"height": HEIGHT, "width": WIDTH}
    about = {"do_resize": True, "size": size, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    write_json(folder / "preprocessor_config.json", about | {"image_mean": half, "image_std": half})


def _network(backbone: Backbone) -> Any:
    import transformers

    return next(part for part in backbone.modules() if isinstance(part, transformers.PreTrainedModel))


def main() -> None:
    """Make the zoo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results-choose"))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    few = {"episodes": 2, "most": 4} if arguments.quick else {}
    for key, name in make_zoo(arguments.out.resolve(), **few).items():
        progress.say(f"{key}: {name}")


if __name__ == "__main__":
    main()
