"""Building a Transformers network, with or without its weights, and taking it apart into backbone and head."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.errors import PretrainedModelError, Problem, raise_problems
from newgameplus.pretrained.checkpoint_folder import CheckpointFolder
from newgameplus.pretrained.pixel_backbone import PixelBackbone, normalize, probe_clips, read_features
from newgameplus.pretrained.preprocessing import Preprocessing
from newgameplus.pretrained.structure import Head, block_modules, find_blocks, find_head, watch_linears
from newgameplus.pretrained.transformers_blueprint import Blueprint, explained, quiet
from newgameplus.shapes import ClipShape

__all__ = ["build_network", "take_apart"]

_INTERPOLATE = "interpolate_pos_encoding"
_POOLER = "add_pooling_layer"


def build_network(
    blueprint: Blueprint, folder: CheckpointFolder | None, *, source: str, device: str = "cpu"
) -> tuple[nn.Module, list[str]]:
    """Build the network in float32, with the folder's weights, or with random ones without a folder.

    Args:
        blueprint: What to build.
        folder: The weights.
        source: Where the model is from, for messages.
        device: ``meta`` builds a network without a folder from shapes alone.

    Returns:
        The network in evaluation mode, and the names of weights in the folder that it has no place for.

    Raises:
        PretrainedModelError: Weights are missing, of another shape or not finite.
    """
    options = {_POOLER: False} if not blueprint.pooler and _POOLER in blueprint.arguments else {}
    config = copy.deepcopy(blueprint.config)
    with explained(f"Transformers cannot build this {blueprint.class_name}", source, "choose another model"), quiet():
        if folder is None:
            with torch.device(device):
                network: nn.Module = blueprint.network_class(config, **options)
            return network.eval(), []
        network, report = blueprint.network_class.from_pretrained(
            str(folder.path),
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # so that all are reported at once, below
            output_loading_info=True,
            **options,
        )
    _check_weights(network, report, source=str(folder.path))
    return network.eval(), sorted(report["unexpected_keys"])


def take_apart(
    network: nn.Module,
    blueprint: Blueprint,
    shape: ClipShape,
    preprocessing: Preprocessing,
    *,
    pooling: str | None,
    source: str,
) -> tuple[PixelBackbone, Head | None]:
    """Turn a network into a backbone, and its head if it is linear; one forward pass shows where to cut.

    Raises:
        PretrainedModelError: The network does not take clips of this shape, or gives no finite features.
    """
    size = (shape.height, shape.width)
    other_size = blueprint.image_size is not None and size != blueprint.image_size
    arguments = {_INTERPOLATE: True} if other_size and _INTERPOLATE in blueprint.arguments else {}
    device = next(network.parameters()).device.type
    clips = probe_clips(shape, device)
    mean, std = (torch.tensor(values, device=device) for values in (preprocessing.mean, preprocessing.std))
    pixels = normalize(clips if blueprint.video else clips[0, :1], preprocessing, mean, std)
    usual = f"{blueprint.frames or 'any number of'} frames of {blueprint.image_size or 'its own size'}"
    with (
        explained(
            f"this {blueprint.class_name} does not take {shape.frames} frames of {shape.height} x {shape.width}",
            source,
            f"leave out the options frames, height and width (it was made for {usual})",
        ),
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
        torch.device(device),
    ):
        cut = _cut(network, blueprint, pixels, arguments)
    if device != "meta" and not torch.isfinite(cut.sample).all():
        raise PretrainedModelError(
            "this network's features are not finite numbers",
            source=source,
            remedy="its weights are damaged: copy them again",
        )
    backbone = PixelBackbone(
        cut.network,
        shape,
        preprocessing,
        pooling=pooling,
        features=cut.features,
        network_dim=int(cut.sample.shape[-1]),
        block_names=cut.block_names,
        layout="tchw" if blueprint.video else "chw",
        arguments=arguments,
    )
    return backbone.eval(), cut.head


@dataclass(frozen=True)
class _Cut:
    network: nn.Module
    head: Head | None
    features: str
    sample: Tensor
    block_names: list[str]


def _cut(network: nn.Module, blueprint: Blueprint, pixels: Tensor, arguments: dict[str, Any]) -> _Cut:
    """Run the network once and see where its features come out."""
    outputs: list[Any] = []
    with watch_linears(network, len(blueprint.labels) or None) as seen:
        names = find_blocks(network, lambda: outputs.append(network(pixels, **arguments)))
    found = outputs[0]
    if blueprint.classifier:
        head = find_head(network, seen, found.logits)
        if head is not None:
            network.set_submodule(head.name, nn.Identity())
            names = [name for name in names if block_modules(network, [name])]
            return _Cut(network, head, "logits", seen[head.name][0], names)
        # No single linear layer gives the logits (two averaged heads, say): use what is below them.
        network = network.get_submodule(str(network.base_model_prefix))
        names = find_blocks(network, lambda: outputs.append(network(pixels, **arguments)))
        found = outputs[1]
    if getattr(found, "feature_maps", None) is not None:
        features = "feature_maps"
    elif getattr(found, "pooler_output", None) is not None:
        features = "pooler_output"
    else:
        features = "last_hidden_state"
    return _Cut(network, None, features, read_features(found, features), names)


def _check_weights(network: nn.Module, report: Mapping[str, Any], *, source: str) -> None:
    """Refuse weights that are not all there: a network that is partly random would pass for a pretrained one."""
    remedy = "these weights belong to another configuration, or the file is damaged: copy the whole checkpoint again"
    problems = [Problem(f"weights are missing: {name}", source, remedy) for name in sorted(report["missing_keys"])]
    for mismatch in sorted(report["mismatched_keys"], key=str):
        name, *shapes = mismatch if isinstance(mismatch, tuple) else (mismatch,)
        described = (
            f" ({' in the file, '.join(str(tuple(shape)) for shape in shapes)} in the network)" if shapes else ""
        )
        problems.append(Problem(f"weights have another shape: {name}{described}", source, remedy))
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            problems.append(Problem(f"weights are not finite numbers (NaN or infinity): {name}", source, remedy))
    raise_problems(problems, PretrainedModelError, f"{len(problems)} weights of this checkpoint cannot be used")
