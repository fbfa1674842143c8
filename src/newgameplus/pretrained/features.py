"""Features of a frozen backbone, computed once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus import progress
from newgameplus.pretrained.backbone import Backbone

__all__ = ["compute_features"]


@torch.no_grad()
def compute_features(
    backbone: Backbone, batches: Iterable[npt.NDArray[np.uint8]], clips: int, title: str = "features"
) -> Tensor:
    """Run clips through a backbone in evaluation mode.

    Args:
        backbone: Any backbone; its mode is put back afterwards.
        batches: uint8 arrays [batch, frames, height, width, channels].
        clips: Number of clips in all batches, for the progress shown.
        title: What to call the work in the progress shown.

    Returns:
        float32 [clips, feature_dim] on the CPU.
    """
    device = next(backbone.parameters()).device
    was_training = {module: module.training for module in backbone.modules()}
    backbone.eval()
    parts: list[Tensor] = []
    with progress.task(title, total=clips, unit="clips") as task:
        for batch in batches:
            parts.append(backbone(torch.from_numpy(batch).to(device)).float().cpu())
            task.advance(len(batch))
    for module, training in was_training.items():
        module.training = training
    return torch.cat(parts) if parts else torch.empty(0, backbone.feature_dim)
