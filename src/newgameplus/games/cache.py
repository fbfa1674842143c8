"""Clips at a model's size, decoded once and then read from disk as fast as the disk allows."""

from __future__ import annotations

import mmap
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import DataError, Problem
from newgameplus.files import digest_bytes, digest_file
from newgameplus.games.cache_store import Entry, Rows, Source, Store, Writer
from newgameplus.games.clips import Clip, ClipSet, raise_data_problems
from newgameplus.games.images import frame_files
from newgameplus.games.video import SpanResult, read_spans
from newgameplus.shapes import ClipShape

__all__ = ["CachedClips", "cache_clips"]

_COMMIT_EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class CachedClips:
    """Clips that can be read in any order without decoding.

    The frames stay on disk and are mapped into memory, so there may be more of them than memory.

    Attributes:
        clip_set: The clips that are whole; the others are in its ``left_out``.
        shape: Shape of each clip.
        digests: Digest of the frames of each clip.
        folder: Where they are kept.
        rows: int64 [clips]; row of each clip in the mapped file, which holds clips of other sets too.
        mapping: The file, mapped into memory.
    """

    clip_set: ClipSet
    shape: ClipShape
    digests: tuple[str, ...]
    folder: Path
    rows: npt.NDArray[np.int64]
    mapping: mmap.mmap

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each clip."""
        return self.clip_set.groups

    def gather(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return a copy of some clips.

        Args:
            indices: int64 [n]; which clips, in any order.

        Returns:
            uint8 [n, frames, height, width, channels] in 0..255.
        """
        rows = self.rows[indices]
        self._announce(rows)
        size = self.shape.bytes_per_clip
        clips = np.frombuffer(self.mapping, np.uint8, len(self.mapping) // size * size)
        return clips.reshape(-1, *self.shape.array).take(rows, axis=0)

    def _announce(self, rows: npt.NDArray[np.int64]) -> None:
        """Have the system read whole clips ahead: page by page, as they are touched, a disk is six times slower."""
        if not hasattr(self.mapping, "madvise"):
            return
        size = self.shape.bytes_per_clip
        for row in rows.tolist():
            first, behind = row * size, (row + 1) * size
            first -= first % mmap.PAGESIZE
            self.mapping.madvise(mmap.MADV_WILLNEED, first, behind - first)

    def targets(self, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return int64 [clips]: the index of each clip's label in ``labels``.

        Raises:
            DataError: A clip has no label, or one that is not among them.
        """
        number = {label: index for index, label in enumerate(labels)}
        problems = [
            Problem(f"label {clip.label!r} is not one of {', '.join(labels)}", clip.origin or clip.identity)
            for clip in self.clip_set.clips
            if clip.label not in number
        ]
        raise_data_problems(problems, "clips with labels that are not known")
        return np.array([number[clip.label or ""] for clip in self.clip_set.clips], dtype=np.int64)


def cache_clips(clip_set: ClipSet, shape: ClipShape, folder: Path, *, skip_bad: bool = False) -> CachedClips:
    """Decode clips that are not in the cache yet, and open it.

    A clip is decoded anew if the content of its video, its span or the shape has changed, and only then: sets that
    share clips share the work. The process may be killed at any moment and goes on where it was; two processes may
    call this at once, and the second waits for the first. Deleting the folder while nothing uses it is always safe.

    Args:
        clip_set: The clips.
        shape: Shape to which they are brought.
        folder: Cache folder; made if need be.
        skip_bad: Leave out clips that cannot be decoded, instead of raising.

    Raises:
        DataError: Names every clip that cannot be decoded.
        StorageError: There is no room for the cache, or its folder cannot be written to.
    """
    store = Store(Path(folder), shape)
    store.load()
    videos = _by_video(clip_set.clips)
    if not _all_known(store, videos):
        with store.writing() as writer:
            _fill(store, writer, videos, shape)
    return _open(store, clip_set, videos, skip_bad)


@dataclass
class _Video:
    """The clips of one source file.

    Attributes:
        path: The file, or folder of frames.
        frame_rate: Frames per second, if it is a folder.
        clips: The clips, each with its place in the set.
        keys: Key of each clip in the cache, once the file's digest is known.
        problem: Why the file as a whole cannot be read now (never kept in the cache).
    """

    path: Path
    frame_rate: float
    clips: list[tuple[int, Clip]]
    keys: list[str] | None = None
    problem: str = ""

    @property
    def source(self) -> str:
        return os.path.realpath(self.path)

    def set_digest(self, digest: str) -> None:
        rate = f"{self.frame_rate!r}" if self.path.is_dir() else ""
        spans = [(clip.start, clip.end) for _, clip in self.clips]
        self.keys = [digest_bytes(digest.encode(), rate.encode(), repr(span).encode()) for span in spans]

    def missing(self, store: Store) -> list[int]:
        """Return which of the clips the cache does not know yet."""
        return [number for number, key in enumerate(self.keys or ()) if key not in store.entries]


def _by_video(clips: Iterable[Clip]) -> list[_Video]:
    grouped: dict[tuple[Path, float], list[tuple[int, Clip]]] = defaultdict(list)
    for index, clip in enumerate(clips):
        grouped[clip.path, clip.frame_rate].append((index, clip))
    return [_Video(path, rate, members) for (path, rate), members in grouped.items()]


def _signature(path: Path) -> str:
    """Return what changes when a file, or a folder of frames, is written to: names, sizes and times."""
    if not path.is_dir():
        status = path.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"
    parts = [(file.name, status.st_size, status.st_mtime_ns) for file in frame_files(path) if (status := file.stat())]
    return digest_bytes(repr(parts).encode())


def _content_digest(path: Path) -> str:
    if not path.is_dir():
        return digest_file(path)
    return digest_bytes(*(f"{file.name}:{digest_file(file)}".encode() for file in frame_files(path)))


def _all_known(store: Store, videos: list[_Video]) -> bool:
    """Find each file's digest without reading it, where its size and time are as before; say if nothing is to do."""
    known = True
    for video in videos:
        try:
            source = store.sources.get(video.source)
            if source is None or source.signature != _signature(video.path):
                known = False
                continue
        except OSError as error:
            video.problem = f"cannot be read ({(error.strerror or str(error)).lower()})"
            continue
        video.set_digest(source.digest)
        known = known and not video.missing(store)
    return known


@dataclass
class _Finished:
    """What a worker has done since it last told."""

    entries: list[tuple[str, Entry]]
    error: BaseException | None = None
    last: bool = False


def _fill(store: Store, writer: Writer, videos: list[_Video], shape: ClipShape) -> None:
    """Decode all that is missing, several files side by side."""
    _all_known(store, videos)
    _hash_sources(writer, [video for video in videos if video.keys is None and not video.problem])
    work = [(video, missing) for video in videos if (missing := video.missing(store))]
    total = sum(len(video.clips) for video in videos)
    count = sum(len(missing) for _, missing in work)
    if not count:
        return
    writer.check_space(count)
    with progress.task("decoding clips", total=total, unit="clips", done=total - count) as task:
        pending: list[tuple[str, Entry]] = []
        kept = time.monotonic()

        def keep(entries: list[tuple[str, Entry]], *, now: bool = False) -> None:
            nonlocal kept
            pending.extend(entries)
            task.advance(len(entries))
            # Not at once: making it safe on disk takes longer than decoding a short video.
            if now or time.monotonic() - kept > _COMMIT_EVERY_SECONDS:
                writer.commit(pending)
                pending.clear()
                kept = time.monotonic()

        try:
            _decode_all(writer, work, shape, keep)
        finally:
            keep([], now=True)


def _hash_sources(writer: Writer, videos: list[_Video]) -> None:
    def hashed(video: _Video) -> Source | None:
        try:
            return Source(_signature(video.path), _content_digest(video.path))
        except OSError as error:
            video.problem = f"cannot be read ({(error.strerror or str(error)).lower()})"
            return None

    if not videos:
        return
    pool = ThreadPoolExecutor(_workers())
    try:
        with progress.task("looking at files", total=len(videos), unit="files") as task:
            # In portions, so that what was hashed is not lost when the process is stopped.
            for start in range(0, len(videos), 64):
                some = videos[start : start + 64]
                found = []
                for video, source in zip(some, pool.map(hashed, some), strict=True):
                    task.advance()
                    if source is not None:
                        found.append((video.source, source))
                        video.set_digest(source.digest)
                writer.commit([], found)
    finally:
        pool.shutdown(cancel_futures=True)


def _workers() -> int:
    """Return how many files to read side by side: FFmpeg works outside Python's lock, so threads do."""
    return max(1, min(8, os.cpu_count() or 1))


def _decode_all(
    writer: Writer,
    work: list[tuple[_Video, list[int]]],
    shape: ClipShape,
    keep: Callable[[list[tuple[str, Entry]]], None],
) -> None:
    """Run one job for each file on a few threads, and keep what they tell, also when something stops the work.

    Rows are reserved just before a job starts, in this thread, so that a full disk stops the work before any write.
    """
    told: queue.Queue[_Finished] = queue.Queue()
    stop = threading.Event()
    waiting = iter(work)
    running = 0
    pool = ThreadPoolExecutor(_workers())
    try:
        while True:
            while running < _workers() and (job := next(waiting, None)) is not None:
                rows = writer.reserve(len(job[1]))
                pool.submit(_decode_one, *job, rows, shape, told.put, stop.is_set)
                running += 1
            if not running:
                return
            finished = told.get()
            running -= finished.last
            keep(finished.entries)
            if finished.error is not None:
                raise finished.error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        while not told.empty():
            keep(told.get().entries)


def _decode_one(
    video: _Video,
    missing: list[int],
    rows: Rows,
    shape: ClipShape,
    tell: Callable[[_Finished], None],
    stopped: Callable[[], bool],
) -> None:
    """Decode the missing clips of one file into their rows, telling every few seconds what is whole."""
    keys = video.keys or []
    entries: list[tuple[str, Entry]] = []
    error: BaseException | None = None
    told = time.monotonic()
    try:
        before = _signature(video.path)
        spans = [(video.clips[number][1].start, video.clips[number][1].end) for number in missing]
        for result in read_spans(video.path, spans, shape, video.frame_rate, rows.frames, stopped):
            entries.append((keys[missing[result.index]], _entry(rows, result)))
            if time.monotonic() - told > _COMMIT_EVERY_SECONDS and _signature(video.path) == before:
                tell(_Finished(entries))
                entries, told = [], time.monotonic()
        if _signature(video.path) != before:
            entries, video.problem = [], "changed while it was read: run the same command again"
    except DataError as refused:
        if isinstance(refused.__cause__, OSError):  # the system's fault, not the content's: not to be remembered
            video.problem = refused.message
        else:
            entries = [(keys[number], Entry(-1, problem=refused.message)) for number in missing]
    except OSError as failed:
        video.problem = f"cannot be read ({(failed.strerror or str(failed)).lower()})"
    except BaseException as failed:  # noqa: BLE001 - raised again in the main thread
        error = failed
    finally:
        tell(_Finished(entries, error=error, last=True))


def _entry(rows: Rows, result: SpanResult) -> Entry:
    if result.problem:
        return Entry(-1, problem=result.problem)
    return Entry(rows.first + result.index, digest_bytes(rows.frames[result.index].tobytes()))


def _open(store: Store, clip_set: ClipSet, videos: list[_Video], skip_bad: bool) -> CachedClips:
    """Sort out which clips are whole, and open the array."""
    entries: list[Entry | None] = [None] * len(clip_set.clips)
    bad: dict[tuple[Path, str], list[Clip]] = defaultdict(list)
    for video in videos:
        for number, (index, clip) in enumerate(video.clips):
            entry = store.entries.get(video.keys[number]) if video.keys and not video.problem else None
            if entry is None or entry.row < 0:
                problem = entry.problem if entry else video.problem or "could not be decoded"
                bad[video.path, problem].append(clip)
            else:
                entries[index] = entry
    if not skip_bad:
        problems = [_told_once(path, problem, clips) for (path, problem), clips in bad.items()]
        count = sum(len(clips) for clips in bad.values())
        raise_data_problems(problems, f"{count:,} of {len(clip_set.clips):,} clips cannot be decoded")
    left_out = [
        Problem(f"{clip.identity}: {problem}", clip.origin or str(clip.path))
        for (_, problem), clips in bad.items()
        for clip in clips
    ]
    kept = [(clip, entry) for clip, entry in zip(clip_set.clips, entries, strict=True) if entry is not None]
    if not kept:
        raise DataError("no clip can be decoded", source=str(clip_set.root), problems=left_out[:20])
    whole = replace(clip_set, clips=tuple(clip for clip, _ in kept), left_out=(*clip_set.left_out, *left_out))
    rows = np.array([entry.row for _, entry in kept], dtype=np.int64)
    digests = tuple(entry.digest for _, entry in kept)
    return CachedClips(whole, store.shape, digests, store.folder, rows, store.open_array())


def _told_once(path: Path, problem: str, clips: list[Clip]) -> Problem:
    """Return one problem for all clips of a file that share it."""
    first = clips[0]
    many = f" ({len(clips)} clips, the first is {first.identity})" if len(clips) > 1 else ""
    remedy = "correct or replace it, or leave such clips out with --skip-bad"
    return Problem(f"{first.name or path}: {problem}{many}", first.origin or str(path), remedy)
