"""How much memory a model needs to be loaded and trained, from its card alone, and how much this machine has.

Numbers are estimates from the count of weights, in bytes. What the layers keep for the backward pass depends on the
network and is measured later, on one step; this is what can be said before anything is loaded.
"""

from __future__ import annotations

from pathlib import Path

from newgameplus.errors import Problem
from newgameplus.pretrained.card import ModelCard

__all__ = ["available_memory", "bytes_to_load", "bytes_to_train", "memory_problem", "told_bytes"]

_FLOAT = 4
#: For each weight that moves: gradient, two moments of Adam, and the copy of the best weights so far.
_MOVING = 4 * _FLOAT
#: Strategies under which the backbone's own weights stay.
_FROZEN = ("probe", "lora")
#: Bytes that a clip takes on its way in, as a multiple of its size: uint8, then float32.
_INPUT = 5
_CGROUP = Path("/sys/fs/cgroup")
_UNITS = ("B", "kB", "MB", "GB", "TB")


def bytes_to_load(card: ModelCard) -> int:
    """Return the memory that loading takes: the network, and the file's weights beside it until they are copied."""
    return card.parameters * 2 * _FLOAT


def bytes_to_train(card: ModelCard, strategy: str = "full", batch_size: int = 1) -> int:
    """Return the least memory that training takes.

    Args:
        card: The model's card; its ``parameters`` are enough.
        strategy: How weights may move; ``probe`` and ``lora`` leave the backbone's as they are.
        batch_size: Clips in a step.
    """
    moving = 0 if strategy in _FROZEN else _MOVING
    inputs = batch_size * int(getattr(card.shape, "bytes_per_clip", 0)) * _INPUT
    return card.parameters * (_FLOAT + moving) + inputs


def available_memory(cgroup: Path = _CGROUP) -> int:
    """Return the bytes that this process can still take: what the machine has free, within its container's limit.

    Args:
        cgroup: Where control groups are mounted.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    limits = [
        limit - used
        for limit, used in (
            _limit(cgroup / "memory.max", cgroup / "memory.current", cgroup / "memory.stat"),
            _limit(
                cgroup / "memory" / "memory.limit_in_bytes",
                cgroup / "memory" / "memory.usage_in_bytes",
                cgroup / "memory" / "memory.stat",
            ),
        )
        if limit is not None
    ]
    return max(0, min([free, *limits]))


def _limit(limit: Path, used: Path, statistics: Path) -> tuple[int | None, int]:
    """Return a container's limit, if it has one, and what it uses that cannot be dropped."""
    try:
        most, taken = limit.read_text().strip(), int(used.read_text())
        if not most.isdigit():  # "max": no limit
            return None, 0
        rows = dict(line.split()[:2] for line in statistics.read_text().splitlines() if len(line.split()) > 1)
    except (OSError, ValueError):
        return None, 0
    # Files read lately are counted as used, but are dropped as soon as memory is short.
    cached = int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))
    return int(most), max(0, taken - cached)


def memory_problem(
    card: ModelCard, *, strategy: str = "full", batch_size: int = 1, available: int | None = None
) -> Problem | None:
    """Return the problem of a model that is larger than memory, or None; nothing is loaded to know.

    Args:
        card: The model's card.
        strategy: How weights may move.
        batch_size: Clips in a step.
        available: Bytes to take; by default what this machine has.
    """
    free = available_memory() if available is None else available
    to_load, to_train = bytes_to_load(card), bytes_to_train(card, strategy, batch_size)
    if max(to_load, to_train) <= free:
        return None
    weights = f"{card.name} has {card.parameters:,} weights"
    smaller = "start from a smaller model (ngp models --max-parameters lists some), or use a machine with more memory"
    if to_load > free:
        message = f"{weights}: loading it takes about {told_bytes(to_load)}, and {told_bytes(free)} of memory are free"
        return Problem(message, "model.start", smaller)
    least = told_bytes(to_train)
    message = f"{weights}: training it with {strategy} takes {least} or more, and {told_bytes(free)} of memory are free"
    frozen = bytes_to_train(card, "probe", batch_size) <= free
    remedy = f"set adapt.strategy to probe or lora, or {smaller}" if frozen else smaller
    return Problem(message, "model.start", remedy)


def told_bytes(count: int) -> str:
    """Return a number of bytes for people, e.g. ``1.5 GB``."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"
