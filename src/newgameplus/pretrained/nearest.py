"""Names near to one that does not exist: folders beside it, models in the hub's cache, and a few of the best known."""

from __future__ import annotations

import difflib
from pathlib import Path

__all__ = ["nearest_folders", "nearest_models"]

#: Models that many tutorials start from, to mend a slip of the pen without a network.
_WELL_KNOWN = (
    "facebook/convnext-tiny-224",
    "facebook/convnextv2-atto-1k-224",
    "facebook/deit-tiny-patch16-224",
    "facebook/dinov2-small",
    "facebook/timesformer-base-finetuned-k400",
    "google-bert/bert-base-uncased",
    "google/mobilenet_v2_1.0_224",
    "google/vit-base-patch16-224",
    "microsoft/resnet-18",
    "microsoft/resnet-50",
    "microsoft/swin-tiny-patch4-window7-224",
    "MCG-NJU/videomae-base",
    "MCG-NJU/videomae-small-finetuned-kinetics",
    "openai-community/gpt2",
)
_MOST = 3
_CUTOFF = 0.6


def nearest_models(name: str) -> str:
    """Return ``did you mean ...? `` for a hub's name, from this machine's cache and well-known models; or nothing."""
    from newgameplus.pretrained.local import cached_models

    known = [*cached_models(), *_WELL_KNOWN]
    by_end = {one.rsplit("/", maxsplit=1)[-1]: one for one in reversed(known)}
    near = difflib.get_close_matches(name, known, n=_MOST, cutoff=_CUTOFF)
    near += [by_end[end] for end in difflib.get_close_matches(name.rsplit("/", 1)[-1], by_end, n=_MOST, cutoff=_CUTOFF)]
    return _told([one for one in dict.fromkeys(near) if one != name][:_MOST])


def nearest_folders(folder: Path) -> str:
    """Return ``did you mean ...? `` for a folder, from those beside it; or nothing."""
    try:
        beside = [one.name for one in folder.parent.iterdir() if one.is_dir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(folder.name, beside, n=_MOST, cutoff=_CUTOFF)
    return _told([str(folder.parent / one) for one in near])


def _told(names: list[str]) -> str:
    return f"did you mean {' or '.join(names)}? " if names else ""
