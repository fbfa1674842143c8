"""What training leaves to look at: metrics.jsonl and TensorBoard events, the same after any interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["epoch_note", "epoch_recorder"]

Rows = list[dict[str, Any]]
_SCALARS = (
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "return",
    "length",
    "success",
    "policy_loss",
    "value_loss",
    "entropy",
    "kl",
    "clipped",
    "steps_per_second",
)


def epoch_note(row: dict[str, Any]) -> str:
    """Return the row of an epoch in a few words, for the progress shown."""
    note = f"{row['phase']}, epoch {row['epoch']}, loss {row['train_loss']:.3f}"
    if "validation_accuracy" in row:
        note += f", validation {row['validation_accuracy']:.3f}"
    return note


def epoch_recorder(folder: Path, arm: str, write_rows: Callable[[str, Rows], None]) -> Callable[[Rows], None]:
    """Return what the loop calls after each epoch with all rows of an arm so far.

    Args:
        folder: TensorBoard folder of the run; the arm gets a folder of its own in it.
        arm: Name of the training.
        write_rows: Keeps the rows of an arm in metrics.jsonl.
    """
    shown = 0

    def record(rows: Rows) -> None:
        nonlocal shown
        write_rows(arm, rows)
        _write_events(folder / arm, rows[shown:])
        shown = len(rows)

    return record


def _write_events(folder: Path, rows: Rows) -> None:
    if not rows:
        return
    from torch.utils.tensorboard import SummaryWriter

    # A purge step hides events of an interrupted try that this try writes again.
    writer = SummaryWriter(str(folder), purge_step=rows[0]["step"])
    for row in rows:
        for name in row:
            if name in _SCALARS or name.startswith(("retention_", "loss_")):
                writer.add_scalar(name, row[name], row["step"])
    writer.close()
