"""The cache gives what decoding gives, decodes nothing twice, and outlives kills, full disks and changed files."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from newgameplus.errors import CacheError, DataError, NewGamePlusError, StorageError
from newgameplus.games import cache as cache_module
from newgameplus.games.cache import CachedClips, cache_clips
from newgameplus.games.clips import ClipSet, load_clips
from newgameplus.games.video import decode_spans
from newgameplus.shapes import ClipShape

SHAPE = ClipShape(4, 12, 16, 3)


@pytest.fixture
def game(tmp_path, make_video) -> Path:
    """Write six videos of 30 frames with four labelled clips each."""
    folder = tmp_path / "game"
    lines = ["path,label,start,end"]
    for number in range(6):
        make_video(folder / f"e {number}.mp4", [(number * 37 + 5 * n) % 230 for n in range(30)])
        lines += [f"e {number}.mp4,{'run' if n % 2 else 'jump'},{n * 0.7:.1f},{n * 0.7 + 0.6:.1f}" for n in range(4)]
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def check(cached: CachedClips, clip_set: ClipSet) -> None:
    """Compare every clip of a cache with what decoding it gives."""
    assert cached.clip_set.clips == clip_set.clips
    for index, clip in enumerate(clip_set.clips):
        wanted = decode_spans(clip.path, [(clip.start, clip.end)], cached.shape, clip.frame_rate)[0]
        assert np.array_equal(cached.gather(np.array([index]))[0], wanted)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """List the spans that are decoded, as name#start."""
    seen: list[str] = []
    original = cache_module.read_spans

    def read_spans(path, spans, *rest):
        seen.extend(f"{path.name}#{start:g}" for start, _ in spans)
        return original(path, spans, *rest)

    monkeypatch.setattr(cache_module, "read_spans", read_spans)
    return seen


def test_the_cache_gives_what_decoding_gives(game, tmp_path):
    clip_set = load_clips(game)
    cached = cache_clips(clip_set, SHAPE, tmp_path / "cache")
    check(cached, clip_set)
    assert len(cached) == 24
    frames = cached.gather(np.array([5, 0, 5, 23]))
    assert (frames.shape, frames.dtype) == ((4, 4, 12, 16, 3), np.uint8)
    assert np.array_equal(frames[0], frames[2])
    assert frames.flags.writeable
    with pytest.raises(TypeError):
        cached.mapping[0] = 1
    assert cached.groups == clip_set.groups
    assert cached.targets(("jump", "run")).tolist() == [0, 1, 0, 1] * 6
    assert len(set(cached.digests)) == len({cached.gather(np.array([n])).tobytes() for n in range(24)})


def test_labels_that_are_not_known(game, tmp_path):
    cached = cache_clips(load_clips(game), SHAPE, tmp_path / "cache")
    with pytest.raises(DataError, match=r"label 'jump' is not one of run") as caught:
        cached.targets(("run",))
    assert "labels.csv:2" in str(caught.value)


def test_nothing_is_decoded_twice(game, tmp_path, decoded, capsys):
    folder = tmp_path / "cache"
    first = cache_clips(load_clips(game), SHAPE, folder)
    assert len(decoded) == 24
    decoded.clear()
    again = cache_clips(load_clips(game), SHAPE, folder)
    assert decoded == []
    assert again.digests == first.digests
    # The same content under another name and date.
    shutil.copytree(game, tmp_path / "copy")
    check(cache_clips(load_clips(tmp_path / "copy"), SHAPE, folder), load_clips(tmp_path / "copy"))
    assert decoded == []


def test_only_what_has_changed_is_decoded(game, tmp_path, decoded, make_video):
    folder = tmp_path / "cache"
    cache_clips(load_clips(game), SHAPE, folder)
    decoded.clear()
    with (game / "labels.csv").open("a") as handle:
        handle.write("\ne 3.mp4,run,2.75,3.0")
    check(cache_clips(load_clips(game), SHAPE, folder), load_clips(game))
    assert decoded == ["e 3.mp4#2.75"]
    decoded.clear()
    os.utime(game / "e 2.mp4", (1, 1))
    cache_clips(load_clips(game), SHAPE, folder)
    assert decoded == []
    make_video(game / "e 1.mp4", list(range(100, 130)))
    check(cache_clips(load_clips(game), SHAPE, folder), load_clips(game))
    assert sorted(decoded) == [f"e 1.mp4#{start:g}" for start in (0.0, 0.7, 1.4, 2.1)]
    decoded.clear()
    other = ClipShape(4, 12, 16, 3, window=0.3)
    check(cache_clips(load_clips(game), other, folder), load_clips(game))
    assert len(decoded) == 25


def test_folders_of_frames_are_watched_too(tmp_path, make_frames, decoded):
    for name in ("run/1", "jump/1"):
        make_frames(tmp_path / "set" / name, [10, 20, 30, 40], size=(16, 12))
    folder = tmp_path / "cache"
    first = cache_clips(load_clips(tmp_path / "set", frame_rate=10), SHAPE, folder)
    check(first, load_clips(tmp_path / "set", frame_rate=10))
    decoded.clear()
    make_frames(tmp_path / "set" / "run" / "1", [10, 20, 99, 40], size=(16, 12))
    second = cache_clips(load_clips(tmp_path / "set", frame_rate=10), SHAPE, folder)
    assert decoded == ["1#0"]
    assert second.gather(np.array([1]))[0].mean(axis=(1, 2, 3)).tolist() == [10, 20, 99, 40]
    # What was opened before still has what it had.
    assert first.gather(np.array([1]))[0].mean(axis=(1, 2, 3)).tolist() == [10, 20, 30, 40]


def spoil(game: Path) -> None:
    (game / "e 0.mp4").write_bytes(b"")
    (game / "e 1.mp4").write_bytes(b"no video" * 100)
    content = (game / "labels.csv").read_text().replace("e 2.mp4,run,0.7,1.3", "e 2.mp4,run,7.0,7.3")
    (game / "labels.csv").write_text(content)


def test_all_bad_files_are_named_at_once(game, tmp_path):
    spoil(game)
    with pytest.raises(DataError) as caught:
        cache_clips(load_clips(game), SHAPE, tmp_path / "cache")
    text = str(caught.value)
    assert "9 of 24 clips cannot be decoded" in text
    assert "e 0.mp4: the file is empty (0 bytes) (4 clips, the first is e 0.mp4#0.000-0.600)" in text
    assert "e 1.mp4: cannot be opened as a video" in text
    assert "labels.csv:11: e 2.mp4: no frames in the span: it starts at 7.000 s" in text
    assert text.count("--skip-bad") == 3


def test_the_good_files_stay_usable(game, tmp_path, decoded):
    spoil(game)
    clip_set = load_clips(game)
    cached = cache_clips(clip_set, SHAPE, tmp_path / "cache", skip_bad=True)
    assert len(cached) == len(cached.clip_set.clips) == len(cached.digests) == 15
    assert len(cached.clip_set.left_out) == 9
    assert all(problem.source.startswith("labels.csv:") for problem in cached.clip_set.left_out)
    check(cached, cached.clip_set)
    decoded.clear()
    again = cache_clips(clip_set, SHAPE, tmp_path / "cache", skip_bad=True)
    assert decoded == []
    assert again.clip_set == cached.clip_set


def test_a_file_that_is_mended_is_used(game, tmp_path, make_video):
    spoil(game)
    cache_clips(load_clips(game), SHAPE, tmp_path / "cache", skip_bad=True)
    make_video(game / "e 0.mp4", list(range(30)))
    assert len(cache_clips(load_clips(game), SHAPE, tmp_path / "cache", skip_bad=True)) == 19


def test_nothing_good_at_all(game, tmp_path):
    clip_set = load_clips(game)
    for path in game.glob("*.mp4"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no clip can be decoded"):
        cache_clips(clip_set, SHAPE, tmp_path / "cache", skip_bad=True)
    for path in game.glob("*.mp4"):
        path.unlink()
    with pytest.raises(DataError, match="24 of 24 clips") as caught:
        cache_clips(clip_set, SHAPE, tmp_path / "cache")
    assert "no such file" in str(caught.value)


def test_a_file_that_changes_while_it_is_read_is_not_trusted(game, tmp_path, monkeypatch):
    original = cache_module.read_spans

    def read_spans(path, spans, *rest):
        yield from original(path, spans, *rest)
        os.utime(path, (1, random.random()))

    monkeypatch.setattr(cache_module, "read_spans", read_spans)
    with pytest.raises(DataError, match="changed while it was read"):
        cache_clips(load_clips(game), SHAPE, tmp_path / "cache")
    monkeypatch.setattr(cache_module, "read_spans", original)
    check(cache_clips(load_clips(game), SHAPE, tmp_path / "cache"), load_clips(game))


def test_what_the_system_refuses_is_tried_again(game, tmp_path, monkeypatch):
    from newgameplus.games import video_file

    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(video_file, "_open", refuse)
        with pytest.raises(DataError, match="24 of 24 clips") as caught:
            cache_clips(load_clips(game), SHAPE, tmp_path / "cache")
    assert "too many open files" in str(caught.value)
    check(cache_clips(load_clips(game), SHAPE, tmp_path / "cache"), load_clips(game))


def index_of(folder: Path) -> Path:
    (index,) = folder.glob("clips-*/index.jsonl")
    return index


@pytest.mark.parametrize("damage", [b'{"key": "12', b"\0" * 100, b"\xff\xfe\n", b'{"key": 3}\n', b"[]\n", b"null\n"])
def test_a_torn_index_costs_only_what_is_torn(damage, game, tmp_path, decoded):
    folder = tmp_path / "cache"
    cache_clips(load_clips(game), SHAPE, folder)
    index = index_of(folder)
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[:-3]) + damage)
    decoded.clear()
    check(cache_clips(load_clips(game), SHAPE, folder), load_clips(game))
    assert len(decoded) == 3
    decoded.clear()
    check(cache_clips(load_clips(game), SHAPE, folder), load_clips(game))
    assert decoded == []


def test_an_index_without_its_array_promises_nothing(game, tmp_path, decoded, make_video):
    folder = tmp_path / "cache"
    cache_clips(load_clips(game), SHAPE, folder)
    array = next(folder.glob("clips-*/frames.u8"))
    os.truncate(array, 10 * SHAPE.bytes_per_clip)
    decoded.clear()
    check(cache_clips(load_clips(game), SHAPE, folder), load_clips(game))
    assert len(decoded) == 14
    array.unlink()
    # Other clips first, so that old lines would answer with new rows if they were still believed.
    other = tmp_path / "other"
    make_video(other / "run" / "x.mp4", [50] * 30)
    make_video(other / "jump" / "y.mp4", [90] * 30)
    cache_clips(load_clips(other), SHAPE, folder)
    check(cache_clips(load_clips(game), SHAPE, folder), load_clips(game))
    check(cache_clips(load_clips(other), SHAPE, folder), load_clips(other))


def test_no_room_is_told_before_anything_is_decoded(game, tmp_path, decoded, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(StorageError, match=r"24 clips need 17 MB of disk space, and 1 MB are free") as caught:
        cache_clips(load_clips(game), SHAPE, tmp_path / "cache")
    assert "NGP_CACHE" in str(caught.value)
    assert decoded == []


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """Mount a disk of 200 kB, where that is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_full_keeps_what_it_has(game, small_disk, monkeypatch, decoded):
    big = ClipShape(4, 24, 32, 3)  # 9,216 bytes a clip: 21 of 24 fit
    free = shutil.disk_usage(small_disk).free
    assert free < 24 * big.bytes_per_clip
    usage = shutil._ntuple_diskusage(10**12, 0, 10**12)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(StorageError, match="no room for 4 more clips") as caught:
            cache_clips(load_clips(game), big, small_disk)
    assert "free some disk space" in str(caught.value)
    kept = [json.loads(line) for line in index_of(small_disk).read_text().splitlines()]
    assert len([line for line in kept if "key" in line]) >= 16
    # On a larger disk the work goes on where it was.
    decoded.clear()
    shutil.copytree(small_disk, small_disk.parent / "larger")
    check(cache_clips(load_clips(game), big, small_disk.parent / "larger"), load_clips(game))
    assert len(decoded) <= 8


def test_a_folder_that_is_read_only(game, small_disk, monkeypatch):
    usage = shutil._ntuple_diskusage(10**12, 0, 10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    cache_clips(load_clips(game), SHAPE, small_disk / "cache")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    # All is there: nothing needs to be written.
    check(cache_clips(load_clips(game), SHAPE, small_disk / "cache"), load_clips(game))
    for folder in (small_disk / "cache", small_disk / "other"):
        with pytest.raises(StorageError, match=r"(?i)read-only") as caught:
            cache_clips(load_clips(game), ClipShape(1, 6, 8, 1), folder)
        assert "choose another folder" in str(caught.value)


def test_a_file_stands_where_the_folder_should_be(game, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(NewGamePlusError) as caught:
        cache_clips(load_clips(game), SHAPE, tmp_path / "cache")
    assert isinstance(caught.value, StorageError | CacheError)
    assert "remedy" in str(caught.value)


SCRIPT = """
import resource, signal, sys
from pathlib import Path
import av
from newgameplus.games import cache
from newgameplus.games.clips import load_clips
from newgameplus.shapes import ClipShape
cache._COMMIT_EVERY_SECONDS = 0.0
clips = load_clips(sys.argv[1])
if sys.argv[3:] == ["slowly"]:  # so that a fast machine cannot outrun the signal
    import time
    decode = cache._decode_one
    def slow(*rest, **more):
        time.sleep(0.1)
        return decode(*rest, **more)
    cache._decode_one = slow
elif len(sys.argv) > 3:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
print("ready", flush=True)
try:
    cached = cache.cache_clips(clips, ClipShape(4, 12, 16, 3), Path(sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
else:
    print(*cached.digests)
"""


def start(game: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(game), str(folder), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def named_clips(folder: Path) -> list[str]:
    return [line for line in index_of(folder).read_text().splitlines() if line.startswith('{"key"')]


@pytest.fixture
def long_game(tmp_path, make_video) -> Path:
    """Write videos that take about half a second to decode."""
    folder = tmp_path / "game"
    lines = ["path,label,start,end"]
    for number in range(8):
        make_video(folder / f"{number}.mp4", [(number * 31 + 3 * n) % 230 for n in range(120)], size=(320, 240))
        lines += [f"{number}.mp4,{'run' if n % 2 else 'jump'},{n * 0.5:.1f},{n * 0.5 + 0.5:.1f}" for n in range(24)]
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_a_process_may_be_killed_at_any_moment(way, long_game, tmp_path):
    rng = random.Random(way)
    folder = tmp_path / "cache"
    kills, before = 0, 0
    while True:
        process = start(long_game, folder, "slowly")
        time.sleep(rng.uniform(0.0, 0.25))
        process.send_signal(way)
        out, _ = process.communicate(timeout=60)
        if process.returncode == 0 and out.strip():
            break
        kills += 1
        now = len(named_clips(folder)) if list(folder.glob("clips-*/index.jsonl")) else 0
        assert now >= before, "what was decoded has been lost"
        before = now
        if kills >= 6:
            break
    assert kills >= 2
    check(cache_clips(load_clips(long_game), SHAPE, folder), load_clips(long_game))


def test_two_processes_share_the_work(long_game, tmp_path):
    folder = tmp_path / "cache"
    processes = [start(long_game, folder) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert answers[0][0] == answers[1][0]
    assert len(named_clips(folder)) == 8 * 24
    check(cache_clips(load_clips(long_game), SHAPE, folder), load_clips(long_game))


def test_a_limit_on_file_size_is_told_like_a_full_disk(long_game, tmp_path):
    process = start(long_game, tmp_path / "cache", str(100 * SHAPE.bytes_per_clip))
    out, err = process.communicate(timeout=60)
    assert "StorageError" in out
    assert "no room for 24 more clips" in out
    assert "Traceback" not in err
    assert 48 <= len(named_clips(tmp_path / "cache")) <= 100
    check(cache_clips(load_clips(long_game), SHAPE, tmp_path / "cache"), load_clips(long_game))
