"""Where to compute, in which precision, and with how many threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from newgameplus.errors import TrainingError
from newgameplus.launched import local_process_count
from newgameplus.recipe_schema import StepSettings
from newgameplus.shapes import SequenceShape

__all__ = ["make_accelerator", "policy_device", "threads_for", "using_threads"]

# Below this many weights a step is too short for threads to pay for their meeting points.
_SMALL_NETWORK = 50_000
# The same where one token is computed at a time.
_SMALL_DECODER = 20_000_000
# Below this many weights a policy answers sooner than a GPU takes to be asked, or threads to meet.
_SMALL_POLICY = 1_000_000
# The same for networks of numbers over time: a step of time is a few numbers, where a frame is thousands of pixels.
_SMALL_SEQUENCE_NETWORK = 1_000_000


class _Wishes(Protocol):
    """What a recipe says about where to compute, read only."""

    @property
    def device(self) -> str: ...
    @property
    def threads(self) -> Any: ...


def make_accelerator(settings: StepSettings) -> Any:
    """Return Accelerate's ``Accelerator`` for the device and precision of a recipe.

    Raises:
        TrainingError: The device or the precision is not to be had here.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if settings.device == "cuda" and not torch.cuda.is_available():
        remedy = "set device: auto, or install a CUDA build of torch on a machine with a GPU"
        raise TrainingError("no CUDA device here", source="train.device", remedy=remedy)
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    if settings.precision == "fp16" and on_cpu:
        remedy = "use fp32 or bf16 on a CPU"
        raise TrainingError("fp16 needs a CUDA device", source="train.precision", remedy=remedy)
    precision = "no" if settings.precision == "fp32" else settings.precision
    # Accelerate keeps one state a process and refuses a second one that differs: several fits may.
    AcceleratorState._reset_state(reset_partial_state=True)
    with _plain_launch():
        return Accelerator(cpu=on_cpu, mixed_precision=precision)


@contextmanager
def _plain_launch() -> Iterator[None]:
    """Keep Accelerate from sharding weights itself: the loop does, phase by phase (train/sharded.py)."""
    wish = os.environ.pop("ACCELERATE_USE_FSDP", None)
    try:
        yield
    finally:
        if wish is not None:
            os.environ["ACCELERATE_USE_FSDP"] = wish


def policy_device(network: nn.Module, settings: _Wishes) -> torch.device:
    """Return where to train a policy: ``auto`` takes a GPU, if there is one, for networks that are not small.

    Raises:
        TrainingError: There is no CUDA device, and the recipe insists on one.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        remedy = "set device: auto, or install a CUDA build of torch on a machine with a GPU"
        raise TrainingError("no CUDA device here", source="train.device", remedy=remedy)
    large = sum(weight.numel() for weight in network.parameters()) >= _SMALL_POLICY
    wanted = settings.device == "cuda" or (settings.device == "auto" and large and torch.cuda.is_available())
    return torch.device("cuda" if wanted else "cpu")


def threads_for(module: nn.Module, settings: _Wishes, *, decoding: bool = False, playing: bool = False) -> int:
    """Return how many threads suit a network: one for a small one, else one a core, shared by processes.

    Args:
        module: The network.
        settings: What the recipe says about threads.
        decoding: Whether it is used token by token, which leaves each thread little to do.
        playing: Whether it is a policy: its batches are small, and threads that wait for each other on a busy machine
            cost more than all of its arithmetic.
    """
    if settings.threads != "auto":
        return int(settings.threads)
    weights = sum(parameter.numel() for parameter in module.parameters())
    numbers = isinstance(getattr(getattr(module, "backbone", module), "shape", None), SequenceShape)
    usual = _SMALL_SEQUENCE_NETWORK if numbers else _SMALL_NETWORK
    small = _SMALL_DECODER if decoding else _SMALL_POLICY if playing else usual
    return 1 if weights < small else max(1, len(os.sched_getaffinity(0)) // local_process_count())


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let torch and NumPy's linear algebra use ``count`` threads in the block."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(limits=count, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
