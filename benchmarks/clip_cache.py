"""The frame cache against decoding: clips per second in random order, and memory for data larger than memory.

    python benchmarks/clip_cache.py [--quick] [--out results-clip-cache.json] [--work FOLDER] [--rounds 9]

Speed. Clips of videos that the script makes itself (a textured world under a moving camera, h264, 30 frames a second)
are read in random order in batches of 32, as in training: from the cache, and by plain PyAV (jump to the keyframe
before the clip, decode up to its last frame, scale the frames that are wanted). Both give the same arrays, which is
checked first. They take turns in one process, so that a busy machine hurts both; a round gives one ratio. ``warm`` has
the cache's pages in memory, as from the second epoch on; ``cold`` drops them before each round, so that every clip
comes from the disk. ``build`` is the one pass that fills the cache.

Memory. A child process fills a cache and then reads all of it twice in random order, while RLIMIT_DATA lets it allocate
only a fraction of the cache's size beyond what it has after its imports. The limit does not count mapped files: their
pages belong to the system, which takes them back when it needs memory. The table gives the peak of what the process
itself had allocated (RssAnon, sampled after each batch), and of all that was resident.

Every round is kept in the JSON file as it ends; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import mmap
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.files import write_json
from newgameplus.games.cache import CachedClips, cache_clips
from newgameplus.games.clips import Clip, ClipSet, load_clips
from newgameplus.games.record.video_writer import video_writer
from newgameplus.games.video import sample_times
from newgameplus.shapes import ClipShape

Frames = npt.NDArray[np.uint8]
BATCH = 32
SEED = 7
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Case:
    """One line of the speed table.

    Attributes:
        name: What it stands for.
        video: Width and height of the videos.
        keyframe_every: Frames between two keyframes.
        shape: Clips that are wanted.
    """

    name: str
    video: tuple[int, int]
    keyframe_every: int
    shape: ClipShape


CASES = (
    Case("own recordings, game backbone", (320, 240), 12, ClipShape(8, 60, 80, 1)),
    Case("own recordings, image backbone", (320, 240), 12, ClipShape(8, 112, 112, 3)),
    Case("screen capture, game backbone", (640, 480), 250, ClipShape(8, 60, 80, 1)),
    Case("screen capture, video backbone", (640, 480), 250, ClipShape(16, 224, 224, 3)),
)


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short videos, three rounds, a small cache")
    parser.add_argument("--out", type=Path, default=Path("results-clip-cache.json"))
    parser.add_argument("--work", type=Path, default=Path("build/clip-cache"), help="where videos and caches are kept")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--under-limit", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.under_limit:
        _read_under_limit(*given.under_limit)
        return
    rounds = given.rounds or (3 if given.quick else 9)
    work = given.work / ("quick" if given.quick else "full")
    settings = {"quick": given.quick, "batch": BATCH, "seed": SEED}
    results = _open_results(given.out, settings)
    for case in CASES:
        _measure_speed(case, work, rounds, results, given.out, quick=given.quick)
    if "memory" not in results:
        results["memory"] = _measure_memory(work, quick=given.quick)
        write_json(given.out, results)
    print(tables(results))


def _open_results(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    if path.exists():
        results: dict[str, Any] = json.loads(path.read_text())
        if results["settings"] != settings:
            sys.exit(f"{path} holds results of other settings {results['settings']}: give another --out")
        return results
    machine = {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    return {"settings": settings, "machine": machine, "speed": {}}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


# Videos -------------------------------------------------------------------------------------------------------------


def make_videos(
    folder: Path, size: tuple[int, int], keyframe_every: int, *, videos: int, seconds: int, clips: int
) -> ClipSet:
    """Write videos of a camera that wanders over a textured world, with clips at random places."""
    if not (folder / "labels.csv").exists():
        rng = np.random.default_rng(SEED)
        lines = ["path,label,start,end"]
        for number in range(videos):
            _write_video(folder / f"{number}.mp4", size, keyframe_every, seconds * 30, rng)
            starts = np.sort(rng.uniform(0, seconds - 0.6, clips))
            lines += [f"{number}.mp4,x,{start:.6f},{start + 0.5:.6f}" for start in starts]
        (folder / "labels.csv").write_text("\n".join(lines))
    return load_clips(folder)


def _write_video(path: Path, size: tuple[int, int], keyframe_every: int, frames: int, rng: np.random.Generator) -> None:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    world = _world(rng, height * 4, width * 4)
    steps = np.cumsum(rng.normal(0, 3, (frames, 2)), axis=0)
    views = [_view(world, round(row), round(column), height, width) for row, column in steps]
    if keyframe_every == 12:  # our own recorder
        with video_writer(path, frame_rate=30, width=width, height=height) as writer:
            for view in views:
                writer.add(view)
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = keyframe_every
        stream.options = {"preset": "veryfast", "crf": "23", "sc_threshold": "0"}
        for view in views:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode())


def _world(rng: np.random.Generator, height: int, width: int) -> Frames:
    """Return a picture with detail at every scale: uint8 [height, width, 3]."""
    world = np.zeros((height, width, 3))
    for scale in (4, 16, 64, 256):
        coarse = rng.normal(0, 1, (math.ceil(height / scale), math.ceil(width / scale), 3))
        world += np.kron(coarse, np.ones((scale, scale, 1)))[:height, :width] * scale**0.3
    return np.clip(128 + 25 * world, 0, 255).astype(np.uint8)


def _view(world: Frames, row: int, column: int, height: int, width: int) -> Frames:
    rows, columns = np.arange(row, row + height), np.arange(column, column + width)
    return world.take(rows, axis=0, mode="wrap").take(columns, axis=1, mode="wrap")


# Speed --------------------------------------------------------------------------------------------------------------


def decode_plainly(clip: Clip, shape: ClipShape) -> Frames:
    """Decode one clip as a training loop without a cache does: uint8 [frames, height, width, channels]."""
    import av
    from av.video.reformatter import Interpolation

    times = sample_times(clip.start, clip.end or 0.0, shape)
    out = np.empty(shape.array, dtype=np.uint8)
    flags = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    with av.open(str(clip.path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        container.seek(int(clip.start / stream.time_base), stream=stream)
        at, shown = 0, None
        for frame in container.decode(stream):
            while at < len(times) and shown is not None and times[at] < frame.time - 1e-6:
                small = shown.reformat(width=shape.width, height=shape.height, format="rgb24", interpolation=flags)
                out[at] = _channels(small.to_ndarray(), shape.channels)
                at += 1
            if at == len(times):
                break
            shown = frame
    return out


def _channels(pixels: Frames, channels: int) -> Frames:
    if channels == 3:
        return pixels
    weighted = pixels.astype(np.uint32) @ np.array([299, 587, 114], dtype=np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)[:, :, None]


def _batches(count: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Yield batches of random order for ever, epoch after epoch."""
    while True:
        order = rng.permutation(count)
        for start in range(0, count - BATCH + 1, BATCH):
            yield order[start : start + BATCH]


def _rate(read: Callable[[npt.NDArray[np.int64]], Frames], batches: Iterator[Any], seconds: float, least: int) -> float:
    """Return clips per second over at least so many seconds and batches."""
    done, began = 0, time.perf_counter()
    while done < least * BATCH or time.perf_counter() - began < seconds:
        done += len(read(next(batches)))
    return done / (time.perf_counter() - began)


def _drop_pages(cached: CachedClips) -> None:
    """Ask the system to forget the pages of the cache's array."""
    cached.mapping.madvise(mmap.MADV_DONTNEED)  # mapped pages would be kept
    with (cached.folder / "frames.u8").open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _measure_speed(case: Case, work: Path, rounds: int, results: dict[str, Any], out: Path, *, quick: bool) -> None:
    result = results["speed"].setdefault(case.name, {"rounds": []})
    if len(result["rounds"]) >= rounds:
        return
    width, height = case.video
    clips = make_videos(
        work / f"videos-{width}x{height}-{case.keyframe_every}",
        case.video,
        case.keyframe_every,
        videos=4 if quick else 12,
        seconds=10 if quick else 30,
        clips=24 if quick else 40,
    )
    folder = work / "cache"
    began = time.perf_counter()
    cached = cache_clips(clips, case.shape, folder)
    if "build" not in result:
        result |= {"build": len(clips.clips) / (time.perf_counter() - began), "clips": len(clips.clips)}
        result["bytes_per_clip"] = case.shape.bytes_per_clip

    def decode(indices: npt.NDArray[np.int64]) -> Frames:
        return np.stack([decode_plainly(clips.clips[index], case.shape) for index in indices])

    rng = np.random.default_rng([SEED, len(result["rounds"])])
    batches = _batches(len(clips.clips), rng)
    some = next(batches)
    if not np.array_equal(decode(some), cached.gather(some)):
        sys.exit(f"{case.name}: the cache and plain decoding disagree")
    while len(result["rounds"]) < rounds:
        _drop_pages(cached)
        cold = _rate(cached.gather, batches, 0.0, len(clips.clips) // BATCH)
        cached.gather(np.arange(len(cached)))
        result["rounds"].append(
            {
                "cold": cold,
                "warm": _rate(cached.gather, batches, 0.3, 8),
                "decode": _rate(decode, batches, 1.0, 1),
            }
        )
        write_json(out, results)


# Memory -------------------------------------------------------------------------------------------------------------


def _measure_memory(work: Path, *, quick: bool) -> dict[str, Any]:
    """Fill and read a cache under a limit that is a fraction of it, in a child process."""
    shape = ClipShape(16, 224, 224, 3)
    folder = work / "videos-memory"
    shutil.rmtree(work / "cache-memory", ignore_errors=True)
    clips = make_videos(folder, (320, 240), 12, videos=8, seconds=20, clips=32 if quick else 256)
    size = len(clips.clips) * shape.bytes_per_clip
    limit = max(256 * 2**20, size // 16)
    command = [sys.executable, __file__, "--under-limit", str(folder), str(work / "cache-memory"), str(limit)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        return {"cache": size, "limit": limit, "failed": f"exit status {done.returncode}"}
    return {"cache": size, "limit": limit, **json.loads(done.stdout)}


def _read_under_limit(videos: str, folder: str, limit: str) -> None:
    """Fill a cache and read it twice in random order; prints what it took as JSON. Runs in the child process."""
    import av.video.reformatter  # noqa: F401 - counted before the limit, not against it

    clips = load_clips(videos)
    shape = ClipShape(16, 224, 224, 3)
    _limit_memory(int(limit))
    began = time.perf_counter()
    cached = cache_clips(clips, shape, Path(folder))
    filled = time.perf_counter()
    own = _status("RssAnon")
    rng = np.random.default_rng(SEED)
    brightness = 0
    for _ in range(2):
        for batch in np.array_split(rng.permutation(len(cached)), math.ceil(len(cached) / BATCH)):
            frames = cached.gather(batch)
            brightness += int(frames.sum(dtype=np.uint64))
            own = max(own, _status("RssAnon"))
    answer = {
        "own_peak": own,
        "resident_peak": _status("VmHWM"),
        "fill_seconds": filled - began,
        "clips_per_second": 2 * len(cached) / (time.perf_counter() - filled),
        "mean_brightness": brightness / (2 * len(cached) * shape.bytes_per_clip),
    }
    print(json.dumps(answer))


def _limit_memory(limit: int) -> None:
    """Let this process allocate so many bytes more."""
    import resource

    allowed = _status("VmData") + limit
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def _status(name: str) -> int:
    """Return a line of this process' memory status, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines[name].split()[0]) * 1024


# Tables -------------------------------------------------------------------------------------------------------------


def _interval(ratios: list[float]) -> str:
    """Return the geometric mean with its 95 % interval (Student's t on the logarithms)."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):,.0f}"
    half = STUDENT.get(len(logs) - 1, 1.96) * statistics.stdev(logs) / math.sqrt(len(logs))
    return f"{math.exp(mean):,.0f} [{math.exp(mean - half):,.0f}, {math.exp(mean + half):,.0f}]"


def tables(results: dict[str, Any]) -> str:
    """Return the tables that the documentation quotes, as Markdown."""
    lines = [
        f"{results['machine']['processor']}, {results['machine']['cores']} cores; batches of {BATCH} clips in random",
        "order; medians of clips per second; ratios to decoding as geometric means with 95 % intervals over rounds.",
        "",
        "| clips | kB each | decode | build | cache, cold | cache, warm | cold / decode | warm / decode |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case in CASES:
        result = results["speed"].get(case.name)
        if not result or not result["rounds"]:
            continue
        rates = {key: [row[key] for row in result["rounds"]] for key in ("decode", "cold", "warm")}
        middle = {key: statistics.median(values) for key, values in rates.items()}
        ratios = {
            key: _interval([fast / slow for fast, slow in zip(rates[key], rates["decode"], strict=True)])
            for key in ("cold", "warm")
        }
        width, height = case.video
        what = f"{case.name}: {width}x{height}, a keyframe every {case.keyframe_every} frames"
        lines.append(
            f"| {what} | {result['bytes_per_clip'] / 1000:,.0f} | {middle['decode']:,.0f} | {result['build']:,.0f} "
            f"| {middle['cold']:,.0f} | {middle['warm']:,.0f} | {ratios['cold']} | {ratios['warm']} |"
        )
    memory = results.get("memory")
    if memory and "failed" in memory:
        lines += ["", f"Larger than memory: failed ({memory['failed']})."]
    elif memory:
        lines += [
            "",
            "| cache | may allocate | allocated, peak | resident, peak | fill | read in random order |",
            "|---:|---:|---:|---:|---:|---:|",
            f"| {memory['cache'] / 1e6:,.0f} MB | {memory['limit'] / 1e6:,.0f} MB | {memory['own_peak'] / 1e6:,.0f} MB "
            f"| {memory['resident_peak'] / 1e6:,.0f} MB "
            f"| {memory['fill_seconds']:,.0f} s | {memory['clips_per_second']:,.0f} clips/s |",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
