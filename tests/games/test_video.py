"""The right frames at the right times, from real files of every format."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from newgameplus.errors import DataError
from newgameplus.games.video import decode_spans, probe_video, read_spans, sample_times
from newgameplus.shapes import ClipShape

SHAPE = ClipShape(4, 12, 16, 1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.gif", "a.mov"])
def test_every_format_gives_the_frames_that_were_on_screen(name, tmp_path, make_video, numbers_of, bright):
    path = make_video(tmp_path / name, [bright(n) for n in range(20)])
    clips = decode_spans(path, [(0.0, 0.4), (0.55, 1.35), (1.6, None), (0.0, 2.0)], SHAPE)
    assert clips.shape == (4, 4, 12, 16, 1)
    assert clips.dtype == np.uint8
    # Frame n is on screen from n / 10 s on; times are start + (i + .5) * length / 4.
    assert numbers_of(clips[0]) == [0, 1, 2, 3]
    assert numbers_of(clips[1]) == [6, 8, 10, 12]
    assert numbers_of(clips[2]) == [16, 17, 18, 19]
    assert numbers_of(clips[3]) == [2, 7, 12, 17]
    info = probe_video(path)
    assert info.duration == pytest.approx(2.0, abs=0.02)
    assert info.frame_rate == pytest.approx(10, rel=0.02)
    assert (info.width, info.height, info.frames) == (64, 48, 20)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_folders_of_frames_in_natural_order(suffix, tmp_path, make_frames, numbers_of, bright):
    folder = make_frames(tmp_path / "my frames", [bright(n) for n in range(12)], suffix=suffix)
    clips = decode_spans(folder, [(0.0, None), (1.0, 1.2)], SHAPE, frame_rate=10.0)
    assert numbers_of(clips[0]) == [1, 4, 7, 10]
    assert numbers_of(clips[1]) == [10, 10, 11, 11]
    info = probe_video(folder, frame_rate=10.0)
    assert (info.duration, info.frame_rate, info.frames) == (pytest.approx(1.2), pytest.approx(10), 12)


def test_spans_come_in_any_order_and_may_overlap(tmp_path, make_video, numbers_of, bright):
    path = make_video(tmp_path / "a.mp4", [bright(n) for n in range(20)])
    spans = [(1.0, 1.4), (0.0, 0.4), (0.9, 1.3), (1.0, 1.4)]
    together = decode_spans(path, spans, SHAPE)
    alone = np.concatenate([decode_spans(path, [span], SHAPE) for span in spans])
    assert np.array_equal(together, alone)


def test_b_frames_come_in_the_order_of_time(tmp_path, make_video, numbers_of, bright):
    path = make_video(tmp_path / "a.mp4", [bright(n) for n in range(20)], b_frames=3, gop=12)
    assert numbers_of(decode_spans(path, [(0, 2.0)], ClipShape(20, 12, 16, 1))[0]) == list(range(20))


def test_variable_frame_rate_goes_by_time_stamps(tmp_path, make_video, numbers_of, bright):
    times = [0, 10, 20, 150, 155, 160, 300]  # hundredths of a second
    path = make_video(tmp_path / "a.mkv", [bright(n) for n in range(7)], times=times)
    clip = decode_spans(path, [(0.0, 3.0)], ClipShape(6, 12, 16, 1))[0]  # at 0.25, 0.75, 1.25, 1.75, 2.25, 2.75 s
    assert numbers_of(clip) == [2, 2, 2, 5, 5, 5]
    assert numbers_of(decode_spans(path, [(1.5, 1.6)], ClipShape(2, 12, 16, 1))[0]) == [3, 4]
    # A span shorter than a frame shows the frame that was on screen all the while.
    assert numbers_of(decode_spans(path, [(0.7, 0.71)], ClipShape(2, 12, 16, 1))[0]) == [2, 2]


def test_time_counts_from_the_first_frame_where_a_file_begins_late(tmp_path, make_video, numbers_of, bright):
    path = make_video(tmp_path / "a.mkv", [bright(n) for n in range(10)], times=[500 + 10 * n for n in range(10)])
    assert numbers_of(decode_spans(path, [(0.0, 0.4)], SHAPE)[0]) == [0, 1, 2, 3]
    assert probe_video(path).duration == pytest.approx(1.0, abs=0.11)


def test_sound_longer_than_the_picture_does_not_count(tmp_path, make_video, numbers_of, bright):
    path = make_video(tmp_path / "a.mp4", [bright(n) for n in range(10)], audio_seconds=4.0)
    assert probe_video(path).duration == pytest.approx(1.0, abs=0.05)
    assert numbers_of(decode_spans(path, [(0.0, None)], ClipShape(2, 12, 16, 1))[0]) == [2, 7]


def test_the_window_is_cut_around_the_middle_and_stands_still_at_the_ends(tmp_path, make_video, numbers_of, bright):
    path = make_video(tmp_path / "a.mp4", [bright(n) for n in range(20)])
    shape = ClipShape(4, 12, 16, 1, window=0.4)
    clips = decode_spans(path, [(0.0, 2.0), (0.0, 0.2), (1.8, 2.0)], shape)
    assert numbers_of(clips[0]) == [8, 9, 10, 11]
    assert numbers_of(clips[1]) == [0, 0, 1, 2]
    assert numbers_of(clips[2]) == [17, 18, 19, 19]


def test_long_gaps_are_jumped_over_with_the_same_frames(tmp_path, make_video):
    values = [(7 * n) % 240 for n in range(900)]
    path = make_video(tmp_path / "a.mp4", values, rate=10, gop=30)
    spans = [(80.0, 80.4), (1.0, 1.4), (45.3, 45.7)]
    frames = decode_spans(path, spans, SHAPE)
    wanted = [[values[round(start * 10) + i] for i in range(4)] for start, _ in spans]
    assert np.abs(frames.mean(axis=(2, 3, 4)) - wanted).max() < 4
    from newgameplus.games.video_file import VideoFile

    with VideoFile(path) as footage:
        at = iter([60.0] * 1000)
        assert sum(1 for _ in footage.pictures(lambda: next(at))) < 500


def test_a_colour_picture_is_averaged_over_areas(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    (tmp_path / "f").mkdir()
    Image.fromarray(picture).save(tmp_path / "f" / "0.png")
    wanted = picture.reshape(12, 2, 16, 2, 3).astype(float).mean(axis=(1, 3))
    colour = decode_spans(tmp_path / "f", [(0, None)], ClipShape(1, 12, 16, 3))[0, 0]
    assert np.abs(colour - wanted).max() <= 1
    grey = decode_spans(tmp_path / "f", [(0, None)], ClipShape(1, 12, 16, 1))[0, 0, :, :, 0]
    assert np.abs(grey - wanted @ [0.299, 0.587, 0.114]).max() <= 1.5


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16"])
def test_pictures_of_every_mode(mode, tmp_path):
    (tmp_path / "f").mkdir()
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 200 * 256, dtype=np.uint16))
    else:
        image = Image.new("L", (8, 8), 200).convert(mode)
    image.save(tmp_path / "f" / "0.png")
    value = int(decode_spans(tmp_path / "f", [(0, None)], ClipShape(1, 4, 4, 1)).mean())
    assert value == (pytest.approx(200, abs=60) if mode == "1" else 200)


def test_sizes_may_change_from_frame_to_frame(tmp_path):
    (tmp_path / "f").mkdir()
    for number, size in enumerate([(64, 48), (10, 90), (3, 3)]):
        Image.new("L", size, 100 + number).save(tmp_path / "f" / f"{number}.png")
    frames = decode_spans(tmp_path / "f", [(0, None)], ClipShape(3, 12, 16, 3), frame_rate=1)
    assert frames[0].mean(axis=(1, 2, 3)).tolist() == [100, 101, 102]


@pytest.mark.parametrize(
    "name", ["überraschung 日本.mp4", "a:b#c?d%20e%03d.mp4", "with space/and 'quote'.mp4", "[1].mp4"]
)
def test_names_of_every_kind(name, tmp_path, make_video, numbers_of, bright, monkeypatch):
    path = make_video(tmp_path / "plain.mp4", [bright(n) for n in range(4)])
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    assert numbers_of(decode_spans(target, [(0, 0.4)], SHAPE)[0]) == [0, 1, 2, 3]
    monkeypatch.chdir(tmp_path)
    assert numbers_of(decode_spans(name, [(0, 0.4)], SHAPE)[0]) == [0, 1, 2, 3]


def test_all_bad_spans_are_named_at_once(tmp_path, make_video, bright):
    path = make_video(tmp_path / "a.mp4", [bright(n) for n in range(10)])
    spans = [(0.0, 0.5), (0.5, 1.6), (3.0, 4.0), (0.5, 0.5), (float("nan"), 1.0), (-1.0, 1.0), (2.0, None)]
    with pytest.raises(DataError) as caught:
        decode_spans(path, spans, SHAPE)
    text = str(caught.value)
    assert "6 of 7 spans" in text
    assert "the span ends at 1.600 s, the video at 1.000 s" in text
    assert "no frames in the span: it starts at 3.000 s, the video ends at 1.000 s" in text
    out = np.zeros((7, *SHAPE.array), dtype=np.uint8)
    results = {r.index: r.problem for r in read_spans(path, spans, SHAPE, 30.0, out)}
    assert sorted(results) == list(range(7))
    assert results[0] == ""
    assert all(results[index] for index in range(1, 7))


def test_a_zero_byte_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    for attempt in (lambda: probe_video(tmp_path / "a.mp4"), lambda: decode_spans(tmp_path / "a.mp4", [(0, 1)], SHAPE)):
        with pytest.raises(DataError, match="empty") as caught:
            attempt()
        assert "a.mp4" in str(caught.value)
        assert "--skip-bad" in str(caught.value)


def test_what_is_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"this is not a video at all " * 99)
    with pytest.raises(DataError, match="cannot be opened as a video"):
        probe_video(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="no such file"):
        probe_video(tmp_path / "b.mp4")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no frames in this folder"):
        probe_video(tmp_path / "folder")


def test_a_playlist_in_disguise_reaches_nothing(tmp_path, make_video, bright):
    make_video(tmp_path / "secret.mp4", [bright(n) for n in range(4)])
    (tmp_path / "a.mp4").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(DataError):
        decode_spans(tmp_path / "a.mp4", [(0, 0.1)], SHAPE)


def test_only_sound(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="only audio"):
        probe_video(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.webm", "a.gif"])
def test_a_cut_file_gives_what_is_whole(name, tmp_path, make_video, numbers_of, bright):
    whole = make_video(tmp_path / name, [bright(n) for n in range(100)], size=(128, 96))
    content = whole.read_bytes()
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(content[: len(content) * 6 // 10])
    assert numbers_of(decode_spans(cut, [(1.0, 1.4)], SHAPE)[0]) == [10, 11, 12, 13]
    with pytest.raises(DataError) as caught:
        decode_spans(cut, [(1.0, 1.4), (9.0, 9.4)], SHAPE)
    assert "9.000" in caught.value.source
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.gif"])
def test_the_whole_of_a_cut_file_is_refused(name, tmp_path, make_video, bright):
    whole = make_video(tmp_path / name, [bright(n) for n in range(100)], size=(128, 96))
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(DataError, match="cut short"):
        decode_spans(cut, [(0.0, None)], SHAPE)


def test_a_cut_mp4_has_lost_its_index(tmp_path, make_video, bright):
    whole = make_video(tmp_path / "a.mp4", [bright(n) for n in range(50)])
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(DataError, match="cannot be opened"):
        probe_video(tmp_path / "cut.mp4")


def test_a_cut_mp4_with_its_index_first_gives_what_is_whole(tmp_path, numbers_of, bright):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(60):
            noise = rng.integers(-3, 4, (48, 64, 1))
            picture = np.repeat(np.clip(bright(number) + noise, 0, 255).astype(np.uint8), 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert numbers_of(decode_spans(path, [(0.5, 0.9)], SHAPE)[0]) == [5, 6, 7, 8]
    with pytest.raises(DataError, match="can be decoded only up to"):
        decode_spans(path, [(5.0, 5.4)], SHAPE)
    with pytest.raises(DataError, match="cut short"):
        decode_spans(path, [(0.0, None)], SHAPE)


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7])
def test_damage_in_the_middle_spoils_what_is_behind_it(at, tmp_path, make_video):
    rng = np.random.default_rng(1)
    values = [int(v) for v in rng.integers(20, 230, 60)]
    content = bytearray(make_video(tmp_path / "a.mp4", values, size=(128, 96)).read_bytes())
    place = int(len(content) * at)
    content[place : place + 400] = rng.integers(0, 256, 400, dtype=np.uint8).tobytes()
    (tmp_path / "b.mp4").write_bytes(bytes(content))
    out = np.zeros((15, *SHAPE.array), dtype=np.uint8)
    spans = [(number * 0.4, number * 0.4 + 0.4) for number in range(15)]
    results = {r.index: r.problem for r in read_spans(tmp_path / "b.mp4", spans, SHAPE, 30.0, out)}
    good = [index for index in range(15) if not results[index]]
    assert 2 <= len(good) < 14
    assert good == list(range(len(good)))
    wanted = np.array(values).reshape(15, 4)[good]
    assert np.abs(out[good].mean(axis=(2, 3, 4)) - wanted).max() < 4


@pytest.mark.parametrize(("codec", "b_frames"), [("libx264", 0), ("libx264", 2), ("mpeg4", 2)])
def test_avi_has_no_times_of_its_own(codec, b_frames, tmp_path, make_video, numbers_of, bright):
    path = make_video(tmp_path / "a.avi", [bright(n) for n in range(20)], codec=codec, b_frames=b_frames)
    assert numbers_of(decode_spans(path, [(0.0, None)], ClipShape(20, 12, 16, 1))[0]) == list(range(20))


@pytest.mark.parametrize(("name", "gop"), [("a.mp4", 900), ("a.avi", 30), ("a.mkv", 900), ("a.gif", 30)])
def test_jumps_that_lead_nowhere_do_no_harm(name, gop, tmp_path, make_video):
    values = [(7 * n) % 240 for n in range(600)]
    path = make_video(tmp_path / name, values, rate=10, gop=gop, size=(32, 16))
    spans = [(start, start + 0.4) for start in (1.0, 25.0, 26.0, 50.0, 59.0)]
    wanted = [[values[round(start * 10) + i] for i in range(4)] for start, _ in spans]
    frames = decode_spans(path, spans, SHAPE)
    assert np.abs(frames.mean(axis=(2, 3, 4)) - wanted).max() < 5


def test_a_corrupt_picture_spoils_only_its_spans(tmp_path, make_frames, numbers_of, bright):
    folder = make_frames(tmp_path / "f", [bright(n) for n in range(10)])
    broken = folder / "frame-5.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert numbers_of(decode_spans(folder, [(0.0, 0.4)], SHAPE, 10.0)[0]) == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"frame-5.png.*cannot be decoded"):
        decode_spans(folder, [(0.3, 0.7)], SHAPE, 10.0)


def _huge_png(path: Path, side: int = 20_000) -> None:
    """Write a PNG of side x side pixels in a few dozen kilobytes, row by row."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + side)) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_a_picture_bomb_is_refused_unread(tmp_path):
    (tmp_path / "f").mkdir()
    _huge_png(tmp_path / "f" / "0.png")
    code = (
        "import resource, sys\n"
        "import av, PIL.Image\n"
        "from newgameplus.games.video import decode_spans\n"
        "from newgameplus.shapes import ClipShape\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    decode_spans(sys.argv[1], [(0, None)], ClipShape(1, 4, 4, 1))\n"
        "except Exception as error:\n"
        "    print(error)\n"
        "print('grew', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "f"], capture_output=True, text=True, check=True)
    assert "20,000 x 20,000 pixels, more than the 64 megapixels" in done.stdout
    assert int(done.stdout.split("grew")[1]) < 50_000  # kB
    assert done.stderr == ""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.floats(0, 1e4),
    length=st.floats(0.01, 1e3),
    frames=st.integers(1, 40),
    window=st.none() | st.floats(0.01, 10),
)
def test_sample_times_are_even_and_inside(start, length, frames, window):
    times = sample_times(start, start + length, ClipShape(frames, 1, 1, 1, window))
    assert len(times) == frames
    span = length if window is None else window
    middle = start + length / 2
    assert times.mean() == pytest.approx(middle, abs=1e-6 * (1 + middle))
    assert np.all(np.abs(times - middle) <= span / 2 + 1e-6)
    assert all(b - a == pytest.approx(span / frames, abs=1e-6 * (1 + middle)) for a, b in pairwise(times))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_spans_of_a_folder_give_the_frames_of_their_times(data, tmp_path_factory):
    folder = _shared_frames(tmp_path_factory)
    edges = st.integers(0, 190)
    spans = [
        (first / 100, (first + length) / 100)
        for first, length in data.draw(st.lists(st.tuples(edges, st.integers(1, 50)), min_size=1, max_size=6))
    ]
    spans = [(start, min(end, 2.0)) for start, end in spans]
    shape = ClipShape(3, 4, 4, 1)
    frames = decode_spans(folder, spans, shape, frame_rate=10.0)
    for span, clip in zip(spans, frames, strict=True):
        numbers = np.minimum(np.floor(sample_times(*span, shape) * 10 + 1e-9), 19)
        assert np.abs(clip.mean(axis=(1, 2, 3)) - numbers * 10).max() == 0


_FOLDERS: list[Path] = []


def _shared_frames(factory: pytest.TempPathFactory) -> Path:
    if not _FOLDERS:
        folder = factory.mktemp("frames")
        for number in range(20):
            Image.new("L", (8, 8), number * 10).save(folder / f"{number}.png")
        _FOLDERS.append(folder)
    return _FOLDERS[0]
