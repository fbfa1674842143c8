"""Work in two launched processes; trainings by name, in this process and in two that share them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from newgameplus.train.processes import is_main
from newgameplus.train.sharing import follow, lead

Train = Callable[..., dict[str, Any]]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
ROOT = Path(__file__).parents[2]


def launch(*arguments: str, seconds: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run in two processes; a hang is a failure."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    command = [*LAUNCH, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=seconds, check=False
    )


def run_variants(train: Train, stops: str, first: Callable[[Path], None] = lambda folder: None) -> None:
    """Run the named variants in this process's folder; the main one saves what came of them.

    Args:
        train: Trains in a folder by name, and is interrupted where ``stop_at`` says.
        stops: The variant that is interrupted.
        first: What the main process does before.
    """
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    torch.set_num_threads(1)
    if not is_main():
        follow(lambda content: None)
        return
    with lead():
        first(folder)
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
            torch.save(train(folder / name, name, stop_at=2 if name == stops else None), folder / name / "result.pt")


def one_and_two(
    folder: Path, module: str, train: Train, variants: Iterable[str], goes_on: str, stops: str
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield what came of each variant in one process and in two.

    Two go on with ``goes_on`` where one stopped, and one goes on with ``stops``, the last variant, where two stopped.
    """
    one: dict[str, dict[str, Any]] = {}
    for name in variants:
        (folder / "one" / name).mkdir(parents=True)
        one[name] = train(folder / "one" / name, name)
    (folder / "two" / goes_on).mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        train(folder / "two" / goes_on, goes_on, stop_at=2)
    told = launch("-m", module, str(folder / "two"), *one)
    assert told.returncode != 0  # the last variant stops
    assert "KeyboardInterrupt" in told.stderr
    assert not (folder / "two" / stops / "result.pt").exists()
    for name, alone in one.items():
        there = folder / "two" / name
        yield name, alone, train(there, name) if name == stops else torch.load(there / "result.pt", weights_only=False)


def seen(one: Path, two: Path) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Return what each step saw in one process and in each of two, which together saw the same."""
    alone = [line.split() for line in (one / "seen-0").read_text().splitlines()]
    halves = [[line.split() for line in (two / f"seen-{rank}").read_text().splitlines()] for rank in range(2)]
    assert [[*first, *second] for first, second in zip(*halves, strict=True)] == alone
    return alone, halves
