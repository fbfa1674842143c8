"""Small image models of random weights, saved as folders that a user would have downloaded."""

from __future__ import annotations

from pathlib import Path

import torch


def save_vit(folder: Path, *, width: int = 16, seed: int = 0, license: str = "") -> Path:  # noqa: A002
    """Save a tiny vision transformer, with a model card that names its licence if one is given."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=width, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
        patch_size=16,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    if license:
        (folder / "README.md").write_text(f"---\nlicense: {license}\n---\n# A model\n")
    return folder
