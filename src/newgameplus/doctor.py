"""What is installed, what is broken, and how to mend it.

Every check runs in a child process, because a broken binary does not raise: it aborts, or it hangs. When a child dies
or is silent for too long, the check it was at is the broken one, and another child goes on with the rest. The checks
themselves are in :mod:`newgameplus.doctor_checks`; this module, which must always work, imports nothing but Python.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import IO, Any, Literal

__all__ = ["CHECKS", "Check", "doctor"]

Level = Literal["ok", "warning", "broken"]

_SILENCE_SECONDS = 60.0
_STARTED = "started"


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: What was looked at.
        level: ``ok``; ``warning``: something optional is missing or broken, or a resource is short; ``broken``: New
            Game+ cannot work.
        found: What was found, with versions and sizes.
        remedy: The command or the step that mends it; empty if there is nothing to mend.
    """

    name: str
    level: Level
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to mend."""
        return self.level == "ok"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain data for ``--json``."""
        return {"name": self.name, "ok": self.ok} | asdict(self)


@dataclass(frozen=True)
class Examination:
    """How one thing is looked at.

    Attributes:
        function: Name of the function in :mod:`newgameplus.doctor_checks`.
        level: What it means if the check fails: ``broken`` for what New Game+ cannot do without.
        remedy: What mends it then, unless the check itself knows better.
    """

    function: str
    level: Level
    remedy: str


_TORCH = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cpu"

CHECKS: dict[str, Examination] = {
    "python": Examination("check_python", "broken", "install Python 3.11 or newer, and New Game+ into it"),
    "packages": Examination("check_packages", "broken", "pip install --upgrade newgameplus"),
    "torch": Examination("check_torch", "broken", _TORCH),
    "accelerate": Examination("check_accelerate", "broken", "pip install --force-reinstall accelerate"),
    "safetensors": Examination("check_safetensors", "broken", "pip install --force-reinstall safetensors"),
    "bundled models": Examination("check_bundled_models", "broken", "pip install --force-reinstall newgameplus"),
    "bundled tile model": Examination(
        "check_bundled_tile_model", "broken", "pip install --force-reinstall newgameplus"
    ),
    "bundled policies": Examination("check_bundled_policies", "broken", "pip install --force-reinstall newgameplus"),
    "device": Examination("check_device", "warning", "set train.device to cpu, or repair the driver of the GPU"),
    "transformers": Examination("check_transformers", "warning", 'pip install "newgameplus[transformers]"'),
    "keras": Examination("check_keras", "warning", 'pip install "newgameplus[keras]"'),
    "torchvision": Examination("check_vision", "warning", 'pip install "newgameplus[torchvision]"'),
    "timm": Examination("check_vision", "warning", 'pip install "newgameplus[timm]"'),
    "adapters": Examination("check_adapters", "warning", 'pip install "newgameplus[lora]"'),
    "zstandard": Examination("check_zstandard", "warning", 'pip install "newgameplus[tiled]"'),
    "gymnasium": Examination("check_gymnasium", "warning", 'pip install "newgameplus[gymnasium]"'),
    "minigrid": Examination("check_minigrid", "warning", 'pip install "newgameplus[minigrid]"'),
    "recordings": Examination("check_recordings", "warning", 'pip install "newgameplus[minari]"'),
    "video": Examination("check_video", "broken", "pip install --force-reinstall av"),
    "scikit-learn": Examination("check_scikit_learn", "broken", "pip install --force-reinstall scikit-learn"),
    "figures": Examination("check_figures", "broken", "pip install --force-reinstall matplotlib"),
    "tensorboard": Examination("check_tensorboard", "broken", "pip install --force-reinstall tensorboard"),
    "doom engine": Examination("check_doom_engine", "warning", 'pip install --force-reinstall "newgameplus[doom]"'),
    "cores": Examination(
        "check_cores",
        "warning",
        "end other programs, or set train.threads to 1: threads that share a core "
        "with others wait for each other most of the time",
    ),
    "memory": Examination(
        "check_memory", "warning", "close other programs, or use a smaller model or train.batch_size"
    ),
    "cache folder": Examination("check_cache_folder", "broken", "set NGP_CACHE to a folder that you may write to"),
    "disk space": Examination("check_disk_space", "warning", "free some space, or set NGP_CACHE to another disk"),
}
"""Every check by name, in the order in which they are shown."""


def doctor(names: Sequence[str] | None = None, *, silence_seconds: float = _SILENCE_SECONDS) -> list[Check]:
    """Examine this installation and this machine.

    Args:
        names: Keys of :data:`CHECKS`; ``None`` for all.
        silence_seconds: After how long a check that says nothing counts as hanging.

    Returns:
        One finding for each check, in the order of the names. Never raises for what it finds.
    """
    wanted = list(CHECKS) if names is None else list(names)
    halves = [wanted[: (len(wanted) + 1) // 2], wanted[(len(wanted) + 1) // 2 :]]
    with ThreadPoolExecutor(len(halves)) as pool:
        results = pool.map(lambda half: _examine(half, silence_seconds), halves)
        return [check for half in results for check in half]


def _examine(names: list[str], silence_seconds: float) -> list[Check]:
    """Run checks in a child, and in another one what is left when it dies."""
    found: list[Check] = []
    while len(found) < len(names):
        left = names[len(found) :]
        with tempfile.TemporaryFile() as words:
            died = ""
            for line in _child_lines(left, words, silence_seconds):
                if "level" in line:
                    found.append(Check(line["name"], line["level"], line["found"], line["remedy"]))
                elif line["event"] != _STARTED:
                    died = line["event"]
            if len(found) < len(names) and died:
                name = names[len(found)]
                last_words = _last_line(words)
                found.append(
                    Check(
                        name, CHECKS[name].level, died + (f": {last_words}" if last_words else ""), CHECKS[name].remedy
                    )
                )
    return found


def _child_lines(names: list[str], words: IO[bytes], silence_seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what a child says, and at the end how it died (an empty event if it did not)."""
    command = [sys.executable, "-P", "-m", "newgameplus.doctor_checks", *names]
    try:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True)  # noqa: S603 - our own module
    except OSError as error:
        yield {"event": f"Python cannot be started ({error})"}
        return
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_into, args=(child.stdout, lines), daemon=True).start()
    try:
        while (line := lines.get(timeout=silence_seconds)) is not None:
            with contextlib.suppress(ValueError):  # a line cut short by the child's death
                yield json.loads(line)
        code = child.wait(timeout=silence_seconds)
        yield {"event": _cause(code)}
    except (queue.Empty, subprocess.TimeoutExpired):
        yield {"event": f"no answer in {silence_seconds:.0f} s"}
    finally:
        child.kill()
        child.wait()


def _read_into(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _cause(code: int) -> str:
    if code >= 0:
        return f"the check ended with exit status {code}"
    try:
        return f"the check crashed ({signal.Signals(-code).name})"
    except ValueError:
        return f"the check crashed (signal {-code})"


def _last_line(words: IO[bytes]) -> str:
    words.seek(0)
    lines = [line.strip() for line in words.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
