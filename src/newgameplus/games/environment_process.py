"""Copies of a game in several processes, one a core, which share their arrays.

Processes are started by their own program and not by copying this one, so that a script needs no ``if __name__ ==
"__main__"`` and libraries with threads do no harm. A process that dies is noticed at the next step, and ends all.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus import errors
from newgameplus.errors import GameError, NewGamePlusError
from newgameplus.games.environment_contract import Environments, EpisodeEnd, Step
from newgameplus.games.environment_memory import SharedArrays, create_file
from newgameplus.gymnasium_actions import ActionCheck
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import Actions, ActionSpec, Masks, Observations, ObservationSpec

__all__ = ["ProcessEnvironments", "cores"]

_PROGRAM = "from newgameplus.games.environment_worker import main; main()"
_PATIENCE = 3.0


def cores() -> int:
    """Return how many processor cores this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ProcessEnvironments(Environments):
    """See :class:`Environments`.

    Args:
        settings: Which game.
        count: Copies in all.
        processes: Number of processes; by default one a core.

    Raises:
        GameError: The game cannot be made, or a process dies.
    """

    def __init__(self, settings: EnvironmentSettings, count: int, processes: int | None = None) -> None:
        self.name = settings.id
        self.count = count
        shares = np.array_split(np.arange(count), max(1, min(processes or cores(), count)))
        self._rows = [(int(share[0]), int(share[-1]) + 1) for share in shares]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._memory: SharedArrays | None = None
        self._stop = weakref.finalize(self, _stop, self._processes)
        self._ready = False
        try:
            self._start(settings)
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> tuple[int, ...]:
        """Numbers of the processes, as the system knows them."""
        return tuple(process.pid for process in self._processes)

    def _start(self, settings: EnvironmentSettings) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        surroundings = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        for rows in self._rows:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=surroundings,
                start_new_session=os.name == "posix",
            )
            self._processes.append(process)
            self._order(len(self._processes) - 1, {"settings": settings.model_dump(mode="json"), "rows": rows})
        answers = [self._answer(worker) for worker in range(len(self._processes))]
        self.observations = ObservationSpec.from_dict(answers[0]["observations"])
        self.actions = ActionSpec.from_dict(answers[0]["actions"])
        self.masked = bool(answers[0]["masked"])
        if any(answer != answers[0] for answer in answers[1:]):
            remedy = "make every copy with the same spaces"
            raise GameError("copies of the game differ in their spaces", source=self.name, remedy=remedy)
        self._check = ActionCheck(self.actions)
        path = create_file(self.observations, self.actions, self.count)
        try:
            for worker in range(len(self._processes)):
                self._order(worker, {"path": str(path), "count": self.count})
            self._memory = SharedArrays(path, self.observations, self.actions, self.count)
            for worker in range(len(self._processes)):
                self._answer(worker)
        finally:
            _forget(path)

    def reset(self, seed: int) -> Observations:
        """See :meth:`Environments.reset`."""
        memory = self._run({"seed": seed})
        self._ready = True
        return {name: array.copy() for name, array in memory.seen.items()}

    def step(self, actions: Actions) -> Step:
        """See :meth:`Environments.step`."""
        if not self._ready or self._memory is None:
            raise GameError(f"{self.name} was not reset", remedy="call reset(seed) before the first step")
        self._memory.actions[...] = self._check.check(actions, self.count)
        memory = self._run(b"step\n")
        terminated, truncated = memory.terminated.copy(), memory.truncated.copy()
        ended = np.flatnonzero(terminated | truncated)
        final = {name: array.copy() for name, array in memory.final.items()} if len(ended) else None
        episodes = tuple(
            EpisodeEnd(
                int(row),
                float(memory.totals[row]),
                int(memory.lengths[row]),
                None if memory.success[row] < 0 else bool(memory.success[row]),
            )
            for row in ended
        )
        seen = {name: array.copy() for name, array in memory.seen.items()}
        return Step(seen, memory.rewards.copy(), terminated, truncated, final, episodes)

    def masks(self) -> Masks | None:
        """See :meth:`Environments.masks`."""
        return self._memory.masks.copy() if self.masked and self._memory is not None else None

    def close(self) -> None:
        """See :meth:`Environments.close`."""
        self._ready = False
        self._stop()
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _run(self, order: Any) -> SharedArrays:
        if self._memory is None:
            raise GameError(f"{self.name} is closed", remedy="make the environments again")
        try:
            for worker in range(len(self._processes)):
                self._order(worker, order)
            for worker in range(len(self._processes)):
                self._answer(worker)
        except BaseException:  # also an interruption: answers would stay in the pipes and be taken for later ones
            self.close()
            raise
        return self._memory

    def _order(self, worker: int, content: Any) -> None:
        pipe = self._processes[worker].stdin
        assert pipe is not None  # noqa: S101 - it was opened with one
        try:
            pipe.write(content if isinstance(content, bytes) else json.dumps(content).encode() + b"\n")
            pipe.flush()
        except OSError as error:
            raise self._death(worker) from error

    def _answer(self, worker: int) -> Any:
        pipe = self._processes[worker].stdout
        assert pipe is not None  # noqa: S101 - it was opened with one
        line = pipe.readline()
        if line == b"\n":
            return None
        if not line.endswith(b"\n"):
            raise self._death(worker)
        content = json.loads(line)
        if "error" in content:
            raise self._told(content)
        return content

    def _told(self, content: Any) -> NewGamePlusError:
        problem = content["error"]["problems"][0]
        remedy = problem.get("remedy", "correct the environment")
        if "there is no game" in problem["message"]:
            remedy += "; one that only this program registers is named as module:Id-v0, or stepped with vectorize: sync"
        if content.get("kind") == "MissingExtraError":
            return errors.MissingExtraError(problem["message"].split()[0], problem["source"].split("'")[1])
        return GameError(problem["message"], source=problem.get("source", self.name), remedy=remedy)

    def _death(self, worker: int) -> GameError:
        process = self._processes[worker]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        code = process.returncode
        how = f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        first, last = self._rows[worker][0], self._rows[worker][1] - 1
        which = f"copies {first} to {last}" if last > first else f"copy {first}"
        remedy = (
            "what it wrote before stands above; if memory ran out, lower environment.count; "
            "`ngp resume` goes on from the last checkpoint"
        )
        return GameError(f"the process of {which} {how}", source=self.name, remedy=remedy)


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
    for process in processes:
        try:
            process.wait(_PATIENCE if process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):  # Windows keeps it until the last has closed it
        path.unlink()
