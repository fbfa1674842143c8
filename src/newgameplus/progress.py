"""Long work shows itself: a bar on a terminal, a calm log line elsewhere; always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from newgameplus.launched import is_main

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Task", "say", "task"]

_LOG_EVERY_SECONDS = 10.0
_listeners: list[Callable[[str], None]] = []


def say(message: str) -> None:
    """Print one line on standard error and hand it to every listener (a run's log file)."""
    _show(message)
    _tell(message)


def _show(message: str) -> None:
    if not is_main():  # of several processes one tells
        return
    with contextlib.suppress(OSError):  # nobody looks any more: no reason to stop the work
        print(message, file=sys.stderr, flush=True)


def _tell(message: str) -> None:
    for listener in _listeners:
        listener(message)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Hand every message said in the block to ``listener`` too."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Task:
    """One piece of long work whose progress is shown. Made by :func:`task`."""

    def __init__(self, title: str, total: int | None, unit: str, done: int, bar: Any) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = self._first = done
        self._started = self._shown = time.monotonic()
        self._bar = bar
        self._bar_id = bar.add_task(title, total=total, completed=done, state="") if bar else None

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that ``count`` more units are done; ``note`` is shown behind the rate."""
        self.done += count
        if self._bar is not None:
            self._bar.update(self._bar_id, completed=self.done, state=f"{self._rate()}  {note}".rstrip())
        elif time.monotonic() - self._shown >= _LOG_EVERY_SECONDS:
            self._shown = time.monotonic()
            _show(self._line(note))

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (self.done - self._first) / seconds
        return f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.1f} {self.unit}/s"

    def _line(self, note: str) -> str:
        seconds = time.monotonic() - self._started
        count = f"{self.done:,}" if self.total is None else f"{self.done:,} of {self.total:,}"
        left = ""
        if self.total is not None and self.done > self._first:
            left = f", {_duration(seconds / (self.done - self._first) * (self.total - self.done))} left"
        return f"  {self.title}: {count} {self.unit}, {self._rate()}{left}{', ' + note if note else ''}"

    def finish(self, note: str = "") -> None:
        """Close the bar and leave one line that says what was done and how long it took."""
        seconds = time.monotonic() - self._started
        behind = f"; {note}" if note else ""
        _tell(f"  {self.title}: {self.done:,} {self.unit} in {_duration(seconds)}{behind}")
        if seconds >= 1.0 or note:
            _show(f"  {self.title}: {self.done:,} {self.unit} in {_duration(seconds)}{behind}")


@contextmanager
def task(title: str, total: int | None = None, unit: str = "steps", done: int = 0) -> Iterator[Task]:
    """Show the progress of one piece of work.

    Args:
        title: What is being done, in a few words.
        total: How many units there are; ``None`` if unknown.
        unit: What is counted, in the plural.
        done: Units that were done before (after a resume).

    Yields:
        A task; call ``advance`` on it. A summary line is left when the block ends without an error.
    """
    bar = _terminal_bar()
    if bar is None:
        current = Task(title, total, unit, done, None)
        yield current
    else:
        with bar:
            current = Task(title, total, unit, done, bar)
            yield current
    current.finish()


def _terminal_bar() -> Any:
    if not is_main() or not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[state]}"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
