"""What runs in each process of :class:`newgameplus.games.environment_process.ProcessEnvironments`.

Orders come as lines on the standard input and answers leave as lines on the standard output; arrays go through shared
memory. A worker ends when its input does, so that none outlives its master. What the game prints goes to the standard
error.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from newgameplus.errors import NewGamePlusError
from newgameplus.games.environment_contract import Step
from newgameplus.games.environment_making import make_copy
from newgameplus.games.environment_memory import SharedArrays
from newgameplus.games.environment_sync import SyncEnvironments
from newgameplus.games.rules.own_program import describe_failure
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import ActionSpec, ObservationSpec

__all__ = ["main"]


def main() -> None:
    """Serve until the input ends."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the master decides what an interruption means
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        _serve(sys.stdin.buffer, answers)
    except BrokenPipeError:
        pass  # the master is gone
    except NewGamePlusError as error:
        _answer(answers, {"error": error.as_dict(), "kind": type(error).__name__})
    except Exception as error:  # noqa: BLE001 - whatever a game does, the master shall hear of it
        _answer(answers, {"error": {"problems": [{"message": describe_failure("the game", error)}]}})
    os._exit(0)  # a game's own threads and windows shall not keep it


def _answer(answers: BinaryIO, content: Any) -> None:
    with contextlib.suppress(OSError):
        answers.write(json.dumps(content).encode() + b"\n")
        answers.flush()


def _serve(orders: BinaryIO, answers: BinaryIO) -> None:
    plan = json.loads(orders.readline())
    settings = EnvironmentSettings.model_validate(plan["settings"])
    begin, end = plan["rows"]
    games = SyncEnvironments(settings.id, [make_copy(settings) for _ in range(begin, end)], begin)
    spaces: dict[str, Any] = {"observations": games.observations.as_dict(), "actions": games.actions.as_dict()}
    _answer(answers, spaces | {"masked": games.masked})
    order = json.loads(orders.readline() or "{}")
    if "path" not in order:
        return
    seen, done = ObservationSpec.from_dict(spaces["observations"]), ActionSpec.from_dict(spaces["actions"])
    memory = SharedArrays(Path(order["path"]), seen, done, order["count"], (begin, end))
    _answer(answers, {})
    for line in orders:
        if line == b"step\n":
            _publish(memory, games, games.step(memory.actions.copy()), begin)
        else:
            for name, array in games.reset(json.loads(line)["seed"]).items():
                memory.seen[name][...] = array
            _publish_masks(memory, games)
        answers.write(b"\n")
        answers.flush()
    games.close()


def _publish(memory: SharedArrays, games: SyncEnvironments, step: Step, begin: int) -> None:
    for name, array in step.observations.items():
        memory.seen[name][...] = array
    memory.rewards[...] = step.rewards
    memory.terminated[...] = step.terminated
    memory.truncated[...] = step.truncated
    if step.final is not None:
        for name, array in step.final.items():
            memory.final[name][...] = array
    for end in step.episodes:
        row = end.environment - begin
        memory.totals[row], memory.lengths[row] = end.total, end.length
        memory.success[row] = -1 if end.success is None else int(end.success)
    _publish_masks(memory, games)


def _publish_masks(memory: SharedArrays, games: SyncEnvironments) -> None:
    masks = games.masks()
    if masks is not None:
        memory.masks[...] = masks
