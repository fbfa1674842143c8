"""Several processes that train together, on one machine or many: who is who, and what one tells the others.

They are launched by ``accelerate launch`` or ``torchrun``. All talk goes through :mod:`torch.distributed`: small plain
data over a group of its own (gloo, on the CPU, which may wait for days while the main process decodes), gradients over
the group that Accelerate computes with. In one process nothing here does or imports anything.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from newgameplus.errors import NewGamePlusError, Problem, TrainingError
from newgameplus.launched import is_main, process_count, process_rank

__all__ = [
    "add_up",
    "agree",
    "barrier",
    "check_same",
    "from_main",
    "gather",
    "is_main",
    "process_count",
    "process_rank",
    "start",
]

_LONGEST_WAIT = datetime.timedelta(days=30)
_SHOWN = 200
_MOST_TOLD = 20
_Result = TypeVar("_Result")
_talk: Any = None


def start() -> None:
    """Meet the other processes, once; nothing in one process.

    Raises:
        TrainingError: They cannot be reached.
    """
    global _talk
    if process_count() == 1 or _talk is not None:
        return
    import atexit

    import torch
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
    with _reachable():
        if not distributed.is_initialized():
            distributed.init_process_group(backend)
            atexit.register(_leave)
        _talk = distributed.new_group(backend="gloo", timeout=_LONGEST_WAIT)


def _leave() -> None:
    """Let go of both groups while the interpreter still stands: their threads must not outlive it."""
    global _talk
    from torch import distributed

    _talk = None
    if distributed.is_initialized():
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()


@contextlib.contextmanager
def _reachable() -> Iterator[None]:
    """Turn what the system says about lost processes into an error with a remedy."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:_SHOWN]
        remedy = "see what the other processes said; then start all of them again, with ngp resume once a run has begun"
        raise TrainingError(
            f"another process stopped or cannot be reached: {said}", source=_who(), remedy=remedy
        ) from error


def _who(rank: int | None = None) -> str:
    return f"process {process_rank() if rank is None else rank} of {process_count()}"


def barrier() -> None:
    """Wait for all processes."""
    gather(None)


def gather(value: _Result) -> list[_Result]:
    """Return the values of all processes (plain data), by rank."""
    if process_count() == 1:
        return [value]
    from torch import distributed

    start()
    values: list[Any] = [None] * process_count()
    with _reachable():
        distributed.all_gather_object(values, value, group=_talk)
    return values


def from_main(value: Any = None) -> Any:
    """Return the main process's value in every process; the others' own is ignored."""
    if process_count() == 1:
        return value
    from torch import distributed

    start()
    box = [value]
    with _reachable():
        distributed.broadcast_object_list(box, src=0, group=_talk)
    return box[0]


def add_up(tensor: Any, group: Any = None) -> None:
    """Add a tensor up over all processes, in place."""
    from torch import distributed

    with _reachable():
        distributed.all_reduce(tensor, group=group)


def agree(work: Callable[[], _Result]) -> _Result:
    """Let every process do its own work, and go on only if all could.

    Raises:
        NewGamePlusError: Of this process, or a ``TrainingError`` that says what stopped another.
    """
    failed: NewGamePlusError | None = None
    result: Any = None
    try:
        result = work()
    except NewGamePlusError as error:
        failed = error
    said = gather(str(failed) if failed else None)
    if failed is not None:
        raise failed
    problems = [Problem(text, _who(rank)) for rank, text in enumerate(said) if text is not None]
    if problems:
        remedy = "put it right there, then start all processes again"
        message = f"{len(problems)} of {process_count()} processes cannot go on"
        raise TrainingError(message, source=_who(), remedy=remedy, problems=problems)
    done: _Result = result
    return done


def check_same(facts: Mapping[str, str], what: str, remedy: str) -> None:
    """Make sure that all processes know the same facts.

    Args:
        facts: What must be the same, each with a short value or a digest.
        what: What they are facts about (``the data``).
        remedy: What to do if they differ.

    Raises:
        TrainingError: In every process; it names facts that differ, twenty at most, and their values in each process.
    """
    everywhere = gather(dict(facts))
    names = list(dict.fromkeys(name for each in everywhere for name in each))
    problems = []
    for name in names:
        values = [each.get(name, "missing") for each in everywhere]
        if len(set(values)) > 1:
            told = ", ".join(f"{value} in process {rank}" for rank, value in enumerate(values))
            problems.append(Problem(f"{name}: {told}"))
    if problems:
        if (more := len(problems) - _MOST_TOLD) > 0:
            problems = [*problems[:_MOST_TOLD], Problem(f"and {more:,} more")]
        message = f"the processes do not agree about {what}"
        raise TrainingError(message, source=_who(), remedy=remedy, problems=[*_with_head(problems, message)])


def _with_head(problems: list[Problem], message: str) -> list[Problem]:
    """Keep the summary above a single problem too."""
    return problems if len(problems) > 1 else [Problem(f"{message}: {problems[0].message}")]
