"""What every model looks like when it leaves: named inputs, named outputs, and real inputs to check it on.

A format sees nothing else of a run, and a scenario nothing else of a format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["Arrays", "Exportable", "ExportedInput", "ExportedOutput"]

Arrays = dict[str, npt.NDArray[Any]]
"""Arrays [batch, ...] by the name of an input or output."""


@dataclass(frozen=True)
class ExportedInput:
    """One input of an exported model.

    Attributes:
        name: What engines call it.
        dtype: ``uint8``, ``int64``, ``float32`` or ``bool``.
        shape: Without the batch axis; a name stands for an axis of any length.
        meaning: What it is, in words, for whoever runs the model.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    meaning: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, the batch axis in front."""
        return {"name": self.name, "dtype": self.dtype, "shape": ["batch", *self.shape], "meaning": self.meaning}


@dataclass(frozen=True)
class ExportedOutput:
    """One output of an exported model.

    Attributes:
        name: What engines call it.
        meaning: What it is, in words.
        choices: Widths of the groups along the last axis of which the largest number decides; empty if none does.
    """

    name: str
    meaning: str
    choices: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"name": self.name, "meaning": self.meaning}


@dataclass(eq=False)
class Exportable:
    """A fine-tuned model, ready to leave.

    Attributes:
        module: Takes the inputs one after the other as tensors and returns a tuple with the outputs; in evaluation
            mode, on the CPU. Preprocessing is inside.
        inputs: In the order in which the module takes them.
        outputs: In the order in which the module returns them.
        samples: Real inputs to check with, by name: [samples, ...] each.
        origin: Where the samples are from, in words.
        facts: What the exported model says about itself: labels, preprocessing, licence, card; plain data.
        source: The run folder, for messages.
    """

    module: nn.Module
    inputs: tuple[ExportedInput, ...]
    outputs: tuple[ExportedOutput, ...]
    samples: Arrays
    origin: str
    facts: dict[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights and constants."""
        held = (*self.module.parameters(), *self.module.buffers())
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def batch(self, indices: npt.NDArray[np.int64]) -> Arrays:
        """Return some of the samples."""
        return {one.name: np.ascontiguousarray(self.samples[one.name][indices]) for one in self.inputs}

    def tensors(self, batch: Mapping[str, npt.NDArray[Any]]) -> tuple[Tensor, ...]:
        """Return a batch as the tensors that the module takes."""
        return tuple(torch.from_numpy(batch[one.name]) for one in self.inputs)

    @torch.no_grad()
    def answer(self, batch: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return what the torch model answers."""
        found = self.module(*self.tensors(batch))
        return {one.name: tensor.numpy() for one, tensor in zip(self.outputs, found, strict=True)}

    def axes(self, batch: Any, named: Mapping[str, Any]) -> tuple[dict[int, Any], ...]:
        """Return for each input which axes may have any length, as torch's exporter wants to hear it.

        Args:
            batch: What stands for the batch axis.
            named: What stands for each named axis.
        """
        return tuple(
            {0: batch, **{n + 1: named[axis] for n, axis in enumerate(one.shape) if isinstance(axis, str)}}
            for one in self.inputs
        )
