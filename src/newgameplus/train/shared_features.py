"""Features of a frozen backbone, each process computing its part of the clips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus.pretrained.backbone import Backbone
from newgameplus.pretrained.features import compute_features
from newgameplus.train.examples import Examples
from newgameplus.train.processes import gather
from newgameplus.train.sharing import shared
from newgameplus.train.team import part_of

__all__ = ["features_of"]


@shared()
def features_of(backbone: Backbone, examples: Examples, title: str, at_once: int = 64) -> Tensor:
    """Return float32 [examples, feature_dim] on the CPU, the same in every process.

    Args:
        backbone: Any backbone.
        examples: What to run through it.
        title: What to call the work in the progress shown.
        at_once: Clips in a batch.
    """
    mine = part_of(len(examples.targets))
    batches = _batches(examples, mine, at_once)
    return torch.cat(gather(compute_features(backbone, batches, mine.stop - mine.start, title)))


def _batches(examples: Examples, part: slice, at_once: int) -> Iterator[npt.NDArray[Any]]:
    for first in range(part.start, part.stop, at_once):
        yield examples.batch(np.arange(first, min(first + at_once, part.stop)), None)[0].numpy()
