"""From a torch network to its graph with a free batch axis, which every format then says in its own words."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus.deploy.exportable import Exportable
from newgameplus.errors import ExportError

__all__ = ["inexpressible", "quiet", "trace"]

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


class _Positional(nn.Module):
    """A module that takes its inputs one after the other, whatever it calls them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        answer: tuple[Tensor, ...] = self.module(*inputs)
        return answer


def trace(model: Exportable) -> torch.export.ExportedProgram:
    """Return the graph of a model: its batch axis and its named axes may have any length.

    Raises:
        ExportError: What the network does depends on the numbers it sees, or its batch axis is not free.
    """
    count = len(next(iter(model.samples.values())))
    # Three samples: torch takes an axis of length 1 for one that is always 1, and 2 may be a width of the network.
    example = model.tensors(model.batch(np.resize(np.arange(count), 3)))
    names = sorted({axis for one in model.inputs for axis in one.shape if isinstance(axis, str)})
    free = torch.export.Dim.DYNAMIC  # "any length, and say so if that is not true"
    with quiet():
        try:
            axes = model.axes(free, dict.fromkeys(names, free))
            return torch.export.export(_Positional(model.module).eval(), example, dynamic_shapes=(axes,))
        except Exception as error:  # torch raises many kinds here
            raise inexpressible(model, "as one graph", error) from error


def inexpressible(model: Exportable, how: str, error: Exception) -> ExportError:
    """Return what to say when torch or a format cannot express a network."""
    said = str(error).strip().partition("\n")[0][:300]
    remedy = "take another format (--to), or serve the run itself with ngp predict, ngp play or ngp generate"
    return ExportError(f"this network cannot be expressed {how}: {said}", source=model.source, remedy=remedy)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters tell their developers away from users."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
