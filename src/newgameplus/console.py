"""How a command ends: its result on standard output, or one calm message and an honest exit code; never a traceback.

Exit codes: 0 done, 1 something is wrong and said, 2 the command line cannot be understood, 130 interrupted (Ctrl-C),
141 nobody reads standard output any more, 143 told to stop (SIGTERM). Set ``NGP_TRACEBACK=1`` to see where an
unforeseen error came from.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import typer

from newgameplus.errors import NewGamePlusError
from newgameplus.files import remedy_for
from newgameplus.launched import is_main

__all__ = ["Answered", "answer", "run"]

Answered = tuple[Any, str]
"""What a verb gives back: plain data for ``--json``, and text for people."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INSIST_SECONDS = 3.0
_received: list[int] = []


def run(app: Callable[..., Any]) -> NoReturn:
    """Run the command line and end the process; errors of the command line itself are JSON too if that was asked."""
    _prepare_streams()
    _listen_for_signals()
    code = 0
    try:
        code = int(app(standalone_mode=False) or 0)
    except KeyboardInterrupt:
        code = _exit_code()
        _calm()
        print("error: interrupted", file=sys.stderr)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        code = _misunderstood(error)
    _calm()  # what arrives while the interpreter takes itself down would kill a process whose work is done
    sys.exit(code)


def _misunderstood(error: Any) -> int:
    """Tell what is wrong with the command line: Typer's own error, whose class it does not show to others."""
    error.show(file=sys.stderr)
    if "--json" in sys.argv:
        told = NewGamePlusError(error.format_message(), source="command line", remedy="see ngp --help")
        _write(_as_json({"verb": _verb_of(sys.argv), "ok": False, "error": told.as_dict()}))
    return int(error.exit_code)


def _verb_of(words: list[str]) -> str:
    return next((word for word in words[1:] if not word.startswith("-")), "")


def _prepare_streams() -> None:
    """Make sure that both streams exist and can show any file name, whatever the terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us; what is opened next must not take its place
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for the whole process)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _listen_for_signals() -> None:
    """Let Ctrl-C and SIGTERM end the work the same way, and let no library swallow them."""
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    signal.signal(signal.SIGALRM, _stop)
    sys.unraisablehook = _unraisable


def _stop(number: int, _frame: FrameType | None) -> None:
    if number != signal.SIGALRM:
        _received.append(number)
        # A library that catches everything, or a callback, where Python can only drop it, may swallow what is raised
        # here: so it is raised again until the command ends.
        signal.setitimer(signal.ITIMER_REAL, _INSIST_SECONDS, _INSIST_SECONDS)
    raise KeyboardInterrupt


def _unraisable(lost: Any) -> None:
    if not _received:
        sys.__unraisablehook__(lost)


def _calm() -> None:
    """From here on the command ends by itself, and its message is to come out whole."""
    for number in (*_SIGNALS, signal.SIGALRM):
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_IGN)


def _exit_code() -> int:
    return 128 + (_received[0] if _received else signal.SIGINT)


def answer(verb: str, as_json: bool, work: Callable[[], Answered], hint: Callable[[], str] = lambda: "") -> None:
    """Run a verb and print its result; turn everything that goes wrong into a message and an exit code.

    Args:
        verb: Its name, for the JSON object.
        as_json: Print one JSON object instead of text.
        work: The verb.
        hint: Gives the remedy after an interruption, if the interruption itself brings none.

    Raises:
        typer.Exit: Something went wrong, and was said.
    """
    try:
        result, text = work()
    except KeyboardInterrupt as stop:
        _fail(verb, as_json, _interruption(stop, hint()), _exit_code())
    except Exception as error:  # noqa: BLE001 - whatever it is, a user gets a message, not a traceback
        if _received:  # some libraries make other errors of an interruption while they are imported
            _fail(verb, as_json, _interruption(error, hint()), _exit_code())
        _fail(verb, as_json, error if isinstance(error, NewGamePlusError) else _system_error(error))
    else:
        _write(_as_json({"verb": verb, "ok": True, "result": result}) if as_json else text)


def _interruption(stop: BaseException, hint: str) -> NewGamePlusError:
    remedy = "; ".join(getattr(stop, "__notes__", ())) or hint or "run the same command again"
    what = "told to stop (SIGTERM)" if _exit_code() == 128 + signal.SIGTERM else "interrupted"
    return NewGamePlusError(what, remedy=remedy)


def _system_error(error: Exception) -> NewGamePlusError:
    if os.environ.get("NGP_TRACEBACK"):
        sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        remedy = "use a smaller train.batch_size or evaluate.resamples, or a smaller model, or close other programs"
        return NewGamePlusError("out of memory", remedy=remedy)
    if isinstance(error, OSError):
        return NewGamePlusError(
            f"the system says: {error.strerror or error}", source=str(error.filename or ""), remedy=remedy_for(error)
        )
    said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    if isinstance(error, ImportError):
        return NewGamePlusError(f"a library cannot be loaded: {said}", remedy="see what is broken: ngp doctor")
    remedy = "this is a fault of New Game+, not yours: please report it, with what NGP_TRACEBACK=1 prints"
    return NewGamePlusError(f"something unforeseen: {said}", remedy=remedy)


def _fail(verb: str, as_json: bool, error: NewGamePlusError, code: int = 1) -> NoReturn:
    _calm()
    print(f"error: {error}", file=sys.stderr, flush=True)
    if as_json:
        _write(_as_json({"verb": verb, "ok": False, "error": error.as_dict()}))
    raise typer.Exit(code)


def _as_json(content: dict[str, Any]) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, indent=2, default=str, allow_nan=False)
    except ValueError:  # JSON knows no NaN
        return json.dumps(_finite(content), ensure_ascii=False, indent=2, default=str, allow_nan=False)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _write(text: str) -> None:
    """Print the result, and say so if it cannot be printed."""
    if not text or not is_main():  # of several processes one answers
        return
    try:
        print(text, flush=True)
    except OSError as error:
        # What is still in the buffer would be tried, and fail, again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # `ngp ... | head -1`: the reader has all it wants
            raise typer.Exit(128 + signal.SIGPIPE) from error
        message = f"error: the result cannot be printed: {error.strerror or error}\n    remedy: {remedy_for(error)}"
        print(message, file=sys.stderr)
        raise typer.Exit(1) from error
