"""Which of several processes this is, as ``accelerate launch`` or ``torchrun`` says in the environment."""

from __future__ import annotations

import os

__all__ = ["is_main", "local_process_count", "process_count", "process_rank"]


def process_count() -> int:
    """Return how many processes were launched together; 1 where nobody says."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ and "MASTER_ADDR" in os.environ else 1


def local_process_count() -> int:
    """Return how many of them run on this machine."""
    return max(1, _number("LOCAL_WORLD_SIZE", 1)) if process_count() > 1 else 1


def process_rank() -> int:
    """Return the number of this process among them, from 0."""
    return _number("RANK", 0) if process_count() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and answers; the only one is."""
    return process_rank() == 0


def _number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise
