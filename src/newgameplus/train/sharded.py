"""Weights spread over the processes (fully sharded data parallel): each holds its part, and gathers a block to use it.

``accelerate launch --use_fsdp`` asks for it. PyTorch's ``fully_shard`` does it, with gloo on processors and NCCL on
GPUs. Only phases in which the backbone moves are sharded; checkpoints hold whole tensors, so they do not depend on it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from newgameplus.adapt import ClipClassifier, Phase
from newgameplus.errors import Problem, TrainingError, raise_problems
from newgameplus.recipe import TrainSettings
from newgameplus.train.processes import process_count

__all__ = ["check_sharding", "like", "sharded_copy", "wants_sharding", "whole"]

_REMEDY = "change it in the recipe, or start the processes without --use_fsdp"


def wants_sharding() -> bool:
    """Whether whoever launched several processes asked for it."""
    return process_count() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


def check_sharding(settings: TrainSettings, phases: Sequence[Phase], keeps: bool) -> None:
    """Make sure that what is asked for can be done with sharded weights, where these are wanted.

    Raises:
        TrainingError: With everything that cannot.
    """
    if not wants_sharding():
        return
    found = {
        "train.learning_rate: find": settings.learning_rate == "find",
        "train.precision: fp16": settings.precision == "fp16",
        "adapt.lora_rank": any(phase.adapter_rank for phase in phases),
        "adapt.l2_sp": any(phase.pull for phase in phases),
        "adapt.after": keeps,
    }
    problems = [Problem("cannot be done with sharded weights", key, _REMEDY) for key, asked in found.items() if asked]
    raise_problems(problems, TrainingError, "sharded weights (FSDP) do not go with the recipe")


def sharded_copy(classifier: ClipClassifier, device: str) -> ClipClassifier:
    """Return a copy whose weights are spread over all processes, block by block."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    copied = copy.deepcopy(classifier)
    for parameter in copied.parameters():  # shards are cut out of weights in the plain order of memory
        parameter.data = parameter.data.contiguous()
    mesh = init_device_mesh(device, (process_count(),))
    for block in copied.backbone.blocks():
        # A mere list of layers is never called, so nothing would gather its weights: the whole network does.
        if not isinstance(block, nn.ModuleList | nn.ModuleDict | nn.ParameterList):
            fully_shard(block, mesh=mesh)
    fully_shard(copied, mesh=mesh)
    return copied


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with those that are spread put together; every process must ask."""
    return {name: _whole(value) for name, value in tensors.items()}


def like(value: Tensor, model: Any) -> Tensor:
    """Return a whole tensor spread as ``model`` is, or as it is if that is not spread or of another shape."""
    if not _spread(model) or value.shape != model.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)


def _spread(value: Any) -> bool:
    return hasattr(value, "full_tensor")


def _whole(value: Any) -> Tensor:
    found: Tensor = value.full_tensor() if _spread(value) else value
    return found
