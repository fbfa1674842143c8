"""The main process walks the whole road; the others wait, and join in where work is shared.

A function marked with :func:`shared` runs in all processes at once: the main one hands its arguments over, clips by
name and not by content, since every process reads its own copy of the data. All else (choosing, baselines, evaluation,
every file that is written) happens in the main process alone, once. In one process the mark does nothing.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from newgameplus.errors import NewGamePlusError, TrainingError
from newgameplus.files import digest_bytes
from newgameplus.games.cache import CachedClips
from newgameplus.shapes import ClipShape
from newgameplus.train.processes import agree, from_main, process_count, process_rank, start

__all__ = ["OpenClips", "follow", "lead", "shared", "tell"]

OpenClips = Callable[[ClipShape], CachedClips]
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_ALONE = "start it as one process; this model or this data cannot be handed to others"
_depth = 0
_broken = False


def shared(
    *, alone: tuple[str, ...] = (), files: tuple[str, ...] = ()
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Mark a function of a module that all processes are to run together.

    Args:
        alone: Arguments that only the main process gets; the others get None.
        files: Arguments that are paths which only the main process can read; the others get a copy of the file.
    """

    def mark(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> _Result:
            if process_count() == 1 or _depth:
                return function(*arguments, **named)
            given = dict(signature.bind(*arguments, **named).arguments)
            name = f"{function.__module__}:{function.__name__}"
            _hand_over(name, given, alone, files)
            with _inside():
                return function(*arguments, **named)

        return run

    return mark


@contextlib.contextmanager
def _inside() -> Iterator[None]:
    """While all work together, an error may have left another process in the middle: no talking after it."""
    global _depth, _broken
    _depth += 1
    try:
        yield
    except BaseException:
        _broken = True
        raise
    finally:
        _depth -= 1


def _hand_over(name: str, given: dict[str, Any], alone: tuple[str, ...], files: tuple[str, ...]) -> None:
    sent = {key: None if key in alone else value for key, value in given.items()}
    contents = {key: _content(given[key]) for key in files}
    sent |= dict.fromkeys(files)
    stream = io.BytesIO()
    try:
        _Pickler(stream).dump(sent)
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:200]
        raise TrainingError(f"cannot be shared between processes: {said}", source=name, remedy=_ALONE) from error
    tell("call", (name, stream.getvalue(), contents))
    agree(lambda: None)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


class _Pickler(pickle.Pickler):
    """Writes clips as a name: their frames are on every machine already."""

    def persistent_id(self, thing: Any) -> Any:
        return ("clips", thing.shape, _digest(thing)) if isinstance(thing, CachedClips) else None


class _Unpickler(pickle.Unpickler):
    """Reads what the main process of the same program wrote; files of users never come here."""

    def __init__(self, stream: io.BytesIO, open_clips: OpenClips) -> None:
        super().__init__(stream)
        self._open_clips = open_clips

    def persistent_load(self, name: Any) -> Any:
        _, shape, digest = name
        clips = self._open_clips(shape)
        if _digest(clips) != digest:
            remedy = "give every process the same clips, or start it as one process"
            raise TrainingError("these are not the clips of the main process", source="data.path", remedy=remedy)
        return clips


def _digest(clips: CachedClips) -> str:
    return digest_bytes("\n".join(clips.digests).encode())


def tell(kind: str, content: Any = None) -> None:
    """Send a message to the processes that wait in :func:`follow`."""
    if process_count() > 1:
        from_main((kind, content))


@contextlib.contextmanager
def lead() -> Iterator[None]:
    """Walk the road as the main process; when the block ends, let the others go, or tell them what went wrong."""
    if process_count() == 1:
        yield
        return
    try:
        yield
    except NewGamePlusError as error:
        _dismiss(str(error))
        raise
    except Exception as error:
        _dismiss(f"{type(error).__name__}: {error}")
        raise
    _dismiss("")


def _dismiss(trouble: str) -> None:
    if not _broken:
        with contextlib.suppress(TrainingError):
            tell("end", trouble)


def follow(load: Callable[[Any], OpenClips | None]) -> None:
    """Wait for the main process, and join in whatever it shares, until it is done.

    Args:
        load: Loads this process's copy of the data, asked with what the main process says about its own; gives what
            opens clips of a shape, if there are any.

    Raises:
        TrainingError: The main process stopped.
        NewGamePlusError: Something stands in the way here.
    """
    start()
    open_clips: OpenClips = _no_clips
    with tempfile.TemporaryDirectory(prefix="newgameplus-") as folder:
        while True:
            kind, content = from_main()
            if kind == "end":
                _end(content)
                return
            if kind == "load":
                open_clips = load(content) or _no_clips
            else:
                _join_in(content, open_clips, Path(folder))


def _no_clips(shape: ClipShape) -> CachedClips:
    raise TrainingError(f"no clips of shape {shape} were loaded", remedy=_ALONE)


def _end(trouble: str) -> None:
    if trouble:
        where = f"process {process_rank()} of {process_count()}"
        raise TrainingError(f"the main process stopped: {trouble}", source=where, remedy="see its message")


def _join_in(content: Any, open_clips: OpenClips, folder: Path) -> None:
    name, packed, files = content

    def unpack() -> dict[str, Any]:
        try:
            given: dict[str, Any] = _Unpickler(io.BytesIO(packed), open_clips).load()
        except (pickle.UnpicklingError, ImportError, AttributeError, TypeError, EOFError) as error:
            message = f"what the main process handed over cannot be used here: {error}"
            raise TrainingError(message, remedy="install the same versions on all machines") from error
        return given

    given = agree(unpack)
    for key, data in files.items():
        given[key] = folder / key
        given[key].unlink(missing_ok=True)
        if data is not None:
            given[key].write_bytes(data)
    module, _, function = name.partition(":")
    with _inside():
        getattr(importlib.import_module(module), function)(**given)
