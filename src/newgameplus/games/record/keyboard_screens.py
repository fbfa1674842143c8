"""Where a game is shown and keys are pressed: a window (pygame), or a terminal that draws with colored blocks."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from newgameplus.errors import GameError, MissingExtraError

__all__ = ["Screen", "TerminalScreen", "WindowScreen", "open_screen"]

Picture = npt.NDArray[np.uint8]
_SMALLEST_WINDOW = 480
_SEQUENCES = {
    "[A": "up",
    "[B": "down",
    "[C": "right",
    "[D": "left",
    "OA": "up",
    "OB": "down",
    "OC": "right",
    "OD": "left",
}
_BYTES = {"\r": "return", "\n": "return", "\t": "tab", " ": "space", "\x7f": "backspace", "\x08": "backspace"}
_ESCAPE_SECONDS = 0.03


class Screen(Protocol):
    """Shows a game and hears the keys."""

    def show(self, picture: Picture, lines: Sequence[str]) -> None:
        """Show a picture, uint8 [height, width, 3], and lines of text."""

    def key(self, seconds: float | None) -> str | None:
        """Return the next key by its name; None when none was pressed in time. Without a time it waits."""

    def __enter__(self) -> Screen:
        """Open it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the screen back as it was."""


def open_screen(mode: str) -> Screen:
    """Return a screen.

    Args:
        mode: ``window``, ``terminal``, or ``auto``: a window where there is a display.

    Raises:
        GameError: There is neither a display nor a terminal.
        MissingExtraError: pygame is not installed.
    """
    if mode not in ("auto", "window", "terminal"):
        remedy = "give auto, window or terminal"
        raise GameError(f"there is no screen {mode!r}", source="screen", remedy=remedy)
    display = sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if mode == "window":
        return WindowScreen()
    if mode == "auto" and display:
        with contextlib.suppress(MissingExtraError):
            return WindowScreen()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        remedy = "start it in a terminal, or where there is a display"
        raise GameError("there is no display and no terminal to play in", source="screen", remedy=remedy)
    return TerminalScreen(sys.stdin.fileno(), sys.stdout.fileno())


class WindowScreen:
    """A window of pygame.

    Raises:
        MissingExtraError: pygame is not installed.
    """

    def __init__(self) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == "pygame"
            raise MissingExtraError("pygame", "minigrid", "" if missing else str(error)) from error
        self._pygame: Any = pygame
        self._surface: Any = None

    def __enter__(self) -> WindowScreen:
        try:
            self._pygame.display.init()
            self._pygame.font.init()
        except self._pygame.error as error:
            remedy = "play in the terminal"
            raise GameError(f"no window can be opened: {error}", source="screen", remedy=remedy) from error
        self._pygame.key.set_repeat(300, 60)
        return self

    def show(self, picture: Picture, lines: Sequence[str]) -> None:
        """See :class:`Screen`."""
        pygame = self._pygame
        height, width = picture.shape[:2]
        scale = max(1, round(_SMALLEST_WINDOW / max(height, width)))
        font = pygame.font.Font(None, 22)
        size = (max(width * scale, _SMALLEST_WINDOW), height * scale + 22 * len(lines))
        if self._surface is None or self._surface.get_size() != size:
            self._surface = pygame.display.set_mode(size)
        self._surface.fill((20, 20, 24))
        whole = pygame.surfarray.make_surface(np.repeat(np.repeat(picture, scale, 0), scale, 1).swapaxes(0, 1))
        self._surface.blit(whole, (0, 0))
        for number, line in enumerate(lines):
            self._surface.blit(font.render(line, True, (235, 235, 235)), (6, height * scale + 3 + 22 * number))
        pygame.display.flip()

    def key(self, seconds: float | None) -> str | None:
        """See :class:`Screen`."""
        pygame = self._pygame
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            for event in pygame.event.get():
                if event.type == pygame.QUIT:
                    return "escape"
                if event.type == pygame.KEYDOWN:
                    return str(pygame.key.name(event.key))
            if end is not None and time.monotonic() >= end:
                return None
            time.sleep(0.005)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pygame.display.quit()
        self._pygame.font.quit()


class TerminalScreen:
    """A terminal with colors; each character shows two dots, one above the other.

    Args:
        keys: File descriptor of the terminal that is read.
        out: File descriptor of the terminal that is written to.
    """

    def __init__(self, keys: int, out: int) -> None:
        self._keys, self._out = keys, out
        self._before: Any = None
        self._typed = ""

    def __enter__(self) -> TerminalScreen:
        import termios
        import tty

        self._before = termios.tcgetattr(self._keys)
        tty.setcbreak(self._keys)
        self._write("\x1b[?1049h\x1b[?25l\x1b[2J")
        return self

    def _write(self, text: str) -> None:
        content = text.encode("utf-8")
        while content:
            content = content[os.write(self._out, content) :]

    def show(self, picture: Picture, lines: Sequence[str]) -> None:
        """See :class:`Screen`."""
        try:
            columns, rows = os.get_terminal_size(self._out)
        except OSError:
            columns, rows = 80, 24
        columns, rows = columns or 80, rows or 24
        height, width = picture.shape[:2]
        scale = min(columns / width, 2 * max(rows - len(lines) - 1, 2) / height)
        size = (max(1, int(width * scale)), max(2, int(height * scale) // 2 * 2))
        kind = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
        dots = np.asarray(Image.fromarray(picture).resize(size, kind))
        text = ["\x1b[H"]
        for upper, lower in zip(dots[::2], dots[1::2], strict=True):
            cells = zip(upper.tolist(), lower.tolist(), strict=True)
            row = (f"\x1b[38;2;{a};{b};{c}m\x1b[48;2;{d};{e};{f}m\u2580" for (a, b, c), (d, e, f) in cells)
            text.append("".join(row) + "\x1b[0m\x1b[K\r\n")
        text += [f"{line[:columns]}\x1b[K\r\n" for line in lines]
        self._write("".join(text) + "\x1b[J")

    def key(self, seconds: float | None) -> str | None:
        """See :class:`Screen`."""
        if not self._typed and not self._wait(seconds):
            return None
        if self._typed == "\x1b":
            self._wait(_ESCAPE_SECONDS)  # the rest of an arrow key follows at once; else it was the key itself
        first, self._typed = self._typed[0], self._typed[1:]
        if first == "\x1b":
            name = _SEQUENCES.get(self._typed[:2])
            if name is not None:
                self._typed = self._typed[2:]
                return name
            return "escape"
        return _BYTES.get(first, first)

    def _wait(self, seconds: float | None) -> bool:
        ready, _, _ = select.select([self._keys], [], [], seconds)
        if not ready:
            return False
        try:
            content = os.read(self._keys, 1024)
        except OSError:
            content = b""
        self._typed += content.decode("utf-8", "ignore") if content else "\x1b"  # nobody is there any more
        return bool(self._typed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import termios

        with contextlib.suppress(OSError):
            self._write("\x1b[0m\x1b[?25h\x1b[?1049l")
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)
