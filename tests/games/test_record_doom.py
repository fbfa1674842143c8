"""The recorder against the real engine: labels are the engine's truth, and the same seed gives the same recording."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from newgameplus.errors import RecorderError
from newgameplus.games.record import doom, record_doom
from newgameplus.games.record.acting import ACTIONS, BUTTONS, ActingPlayer
from newgameplus.games.record.doom_engine import VARIABLES, VIEWS, play
from newgameplus.games.record.doom_maps import find_map, known_maps
from newgameplus.games.record.labelling import BEHAVIORS, SETTLE, SHORTEST, behavior_spans, behaviors
from newgameplus.games.trajectories import SUFFIX, load_trajectory

pytest.importorskip("vizdoom")
pytestmark = pytest.mark.engine

SMALL = {"seconds": 6.0, "width": 160, "height": 120}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return record_doom("freedoom2:MAP03", 2, tmp_path_factory.mktemp("doom") / "map03", seed=4, **SMALL)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_folder_holds_everything_and_nothing_else(recording):
    names = {path.name for path in recording.folder.iterdir()}
    episodes = {f"episode-{number:03d}{suffix}" for number in (0, 1) for suffix in (".mp4", SUFFIX)}
    assert names == episodes | {"labels.csv", "actions.csv", "behaviors.csv", "recording.json"}
    assert (recording.folder / "labels.csv").read_bytes() == (recording.folder / "actions.csv").read_bytes()
    about = json.loads((recording.folder / "recording.json").read_text())
    assert about["settings"]["map"] == "freedoom2:MAP03"
    assert about["clips"] == recording.clips
    assert about["frames"] == recording.frames == 2 * 210
    assert sum(recording.clips.values()) == len(rows_of(recording.folder / "labels.csv")) > 8


def test_every_action_label_is_the_button_that_was_held(recording):
    for row in rows_of(recording.folder / "actions.csv"):
        trajectory = load_trajectory(recording.folder / row["path"].replace(".mp4", SUFFIX))
        first, end = (round(float(row[key]) * 35) for key in ("start", "end"))
        assert end - first >= SHORTEST
        held = trajectory.buttons[first - SETTLE : end]
        without_speed = [name for name in BUTTONS if name != "SPEED"]
        for name in without_speed:
            assert (held[:, BUTTONS.index(name)] == (ACTIONS[row["label"]] == name)).all()
        assert not trajectory.cuts[first:end].any()
        assert row["group"] == row["path"].removesuffix(".mp4")


def test_actions_do_to_the_player_what_their_names_say(recording):
    turned: dict[str, list[float]] = {"turn_left": [], "turn_right": []}
    for row in rows_of(recording.folder / "actions.csv"):
        trajectory = load_trajectory(recording.folder / row["path"].replace(".mp4", SUFFIX))
        first, end = (round(float(row[key]) * 35) for key in ("start", "end"))
        angles = np.unwrap(trajectory.variable("ANGLE")[first:end], period=360)
        if row["label"] in turned:
            turned[row["label"]].append(float(angles[-1] - angles[0]))
    assert turned["turn_left"]
    assert turned["turn_right"]
    assert min(turned["turn_left"]) > 20
    assert max(turned["turn_right"]) < -20


def test_frames_and_times_line_up(recording):
    import av

    with av.open(str(recording.folder / "episode-000.mp4")) as container:
        stream = container.streams.video[0]
        keyframes, times = [], []
        for number, frame in enumerate(container.decode(stream)):
            times.append(frame.time)
            keyframes += [number] if frame.key_frame else []
        assert (stream.width, stream.height) == (160, 120)
    np.testing.assert_allclose(times, np.arange(210) / 35, atol=1e-3)
    assert max(np.diff([*keyframes, 210])) <= 12


@pytest.mark.parametrize("players", [1, 3])
def test_the_same_seed_gives_the_same_bytes(tmp_path, players):
    for name in ("first", "second"):
        record_doom("freedoom1:E1M1", 1, tmp_path / name, seed=8, players=players, **SMALL)
    assert digests(tmp_path / "first") == digests(tmp_path / "second")
    record_doom("freedoom1:E1M1", 1, tmp_path / "other", seed=9, players=players, **SMALL)
    changed = digests(tmp_path / "other")
    assert all(changed[name] != digest for name, digest in digests(tmp_path / "first").items())


def test_bots_take_part(tmp_path):
    folder = record_doom("cig:MAP01", 1, tmp_path / "match", seed=2, players=4, labels="behavior", **SMALL).folder
    assert (folder / "labels.csv").read_bytes() == (folder / "behaviors.csv").read_bytes()
    seen = [frame.variables for frame in play(find_map("cig:MAP01"), seed=2, frames=5, size=(160, 120), players=4)]
    assert {values[VARIABLES.index("PLAYER_COUNT")] for values in seen} == {4.0}
    alone = [frame.variables for frame in play(find_map("cig:MAP01"), seed=2, frames=5, size=(160, 120))]
    assert {values[VARIABLES.index("PLAYER_COUNT")] for values in alone} == {1.0}


def test_the_camera_may_stand_behind_the_player():
    first, behind = (
        list(play(find_map("freedoom2:MAP03"), seed=6, frames=30, size=(160, 120), view=view)) for view in VIEWS
    )
    position = [VARIABLES.index(name) for name in ("POSITION_X", "POSITION_Y", "ANGLE")]
    for mine, his in zip(first, behind, strict=True):  # the same game, seen from elsewhere
        np.testing.assert_array_equal(mine.variables[position], his.variables[position])
        assert np.mean(mine.picture != his.picture) > 0.3


def test_an_interrupted_recording_is_valid_and_goes_on(tmp_path, recording, monkeypatch):
    folder = tmp_path / "half"
    play, begun = doom.play, []

    def interrupted(*args, **kwargs):
        begun.append(1)
        for number, frame in enumerate(play(*args, **kwargs)):
            if len(begun) == 2 and number == 50:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(doom, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record_doom("freedoom2:MAP03", 2, folder, seed=4, **SMALL)
    monkeypatch.undo()
    kept = {row["path"] for row in rows_of(folder / "labels.csv")}
    assert kept == {"episode-000.mp4"}
    assert not list(folder.glob(".*"))
    assert not list(folder.glob("episode-001*"))
    with pytest.raises(RecorderError, match="made with other settings"):
        record_doom("freedoom2:MAP03", 2, folder, seed=5, resume=True, **SMALL)
    record_doom("freedoom2:MAP03", 2, folder, seed=4, resume=True, **SMALL)
    assert digests(folder) == digests(recording.folder)


def test_nothing_is_overwritten(tmp_path, recording):
    before = digests(recording.folder)
    with pytest.raises(RecorderError, match="not overwritten") as caught:
        record_doom("freedoom2:MAP03", 3, recording.folder, seed=4, **SMALL)
    assert "--resume" in str(caught.value)
    assert digests(recording.folder) == before
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(RecorderError, match="not empty"):
        record_doom("freedoom2:MAP03", 1, tmp_path, **SMALL)
    shutil.copytree(recording.folder, tmp_path / "copy")
    (tmp_path / "copy" / "recording.json").write_text("{")
    with pytest.raises(RecorderError, match="cannot be read"):
        record_doom("freedoom2:MAP03", 3, tmp_path / "copy", seed=4, resume=True, **SMALL)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"map": "freedoom2:MAP42"}, ["freedoom2:MAP42", "did you mean freedoom2:MAP"]),
        ({"map": "bassic"}, ["bassic", "did you mean basic"]),
        ({"map": "???"}, ["???", "freedoom2:MAP01"]),
        ({"episodes": 0}, ["0 episodes", "at least 1"]),
        ({"players": 9}, ["9 players", "1 to 8"]),
        ({"players": 2, "map": "basic"}, ["nowhere to begin", "basic", "players=1"]),
        ({"seconds": 0.5}, ["0.5 seconds", "at least 2"]),
        ({"seconds": float("nan")}, ["nan seconds"]),
        ({"skill": 6}, ["skill 6", "1 to 5"]),
        ({"view": "above"}, ["above", "first or behind"]),
        ({"labels": "actoin"}, ["actoin", "action or behavior"]),
        ({"width": 321}, ["321x120", "160x120"]),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_a_remedy(tmp_path, changes, words):
    arguments = {"map": "basic", "episodes": 1, "out": tmp_path / "out", **SMALL} | changes
    with pytest.raises(RecorderError) as caught:
        record_doom(**arguments)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_every_freedoom_map_and_the_scenarios_are_known():
    maps = known_maps()
    assert {f"freedoom2:MAP{number:02d}" for number in range(1, 33)} <= set(maps)
    assert {f"freedoom1:E{e}M{m}" for e in range(1, 5) for m in range(1, 10)} <= set(maps)
    assert {"basic", "deadly_corridor", "my_way_home", "cig:MAP01"} <= set(maps)
    assert find_map(" FREEDOOM2:map02 ").name == "freedoom2:MAP02"
    assert all(m.player_starts == 1 and m.deathmatch_starts for name, m in maps.items() if name.startswith("freedoom"))


def test_the_player_shows_all_actions_about_equally_and_turns_away_from_walls():
    player = ActingPlayer(np.random.default_rng(0), 18, 30)
    seen = []
    for _ in range(400):
        hold = player.next()
        assert 18 <= hold.tics <= 30
        button = ACTIONS[list(ACTIONS)[hold.action]]
        pressed = {name for name, value in zip(BUTTONS, hold.buttons, strict=True) if value} - {"SPEED"}
        assert pressed == ({button} if button else set())
        seen.append(hold.action)
        player.shown(hold)
    counts = np.bincount(seen, minlength=8)
    assert counts.min() >= 0.8 * counts.max()
    assert all(a != b for a, b in pairwise(seen))
    for _ in range(50):
        hold = player.next()
        if player.gives_up(hold, held=10, speed=0.1):
            way_out = list(ACTIONS)[player.next().action]
            assert way_out not in ("move_forward", "idle", "attack")


def still_world(frames: int) -> dict[str, np.ndarray]:
    names = (
        "HEALTH",
        "ARMOR",
        "POSITION_X",
        "POSITION_Y",
        "ANGLE",
        "DEAD",
        "HITS_TAKEN",
        "ITEMCOUNT",
        "AMMO",
        "WEAPONS",
    )
    world = {name: np.zeros(frames, np.float32) for name in (*names, "TRIGGER")}
    return world | {"ATTACK_READY": np.ones(frames, np.float32), "HEALTH": np.full(frames, 100, np.float32)}


@pytest.mark.parametrize(
    ("behavior", "changes"),
    [
        ("idle", {}),
        ("move", {"POSITION_X": 8.0}),
        ("strafe", {"POSITION_Y": 8.0}),
        ("turn", {"ANGLE": 3.5}),
        ("hit", {"HITS_TAKEN": 1.0, "POSITION_X": 8.0}),
        ("pickup", {"ITEMCOUNT": 1.0, "POSITION_X": 8.0}),
    ],
)
def test_behaviors_follow_from_variables(behavior, changes):
    world = still_world(30)
    for name, step in changes.items():
        world[name] = np.arange(30, dtype=np.float32) * step
    found = behaviors(world, np.zeros(30, bool))
    assert (found[1:] == BEHAVIORS.index(behavior)).all()


def test_an_event_lasts_twelve_frames_and_not_over_a_cut():
    world = still_world(60)
    world["HITS_TAKEN"][10:] = 1
    world["TRIGGER"][:] = 1
    world["ATTACK_READY"][:] = 0
    hit, attack = BEHAVIORS.index("hit"), BEHAVIORS.index("attack")
    cuts = np.zeros(60, bool)
    np.testing.assert_array_equal(behaviors(world, cuts), [attack] * 10 + [hit] * 12 + [attack] * 38)
    cuts[15] = True
    found = behaviors(world, cuts)
    assert (found[10:15] == hit).all()
    assert found[15] == -1
    assert (found[16:] == attack).all()
    world["DEAD"][40:] = 1
    assert (behaviors(world, cuts)[40:] == BEHAVIORS.index("dead")).all()


def test_behaviors_of_a_real_episode_are_cut_into_spans_of_one_behavior(recording):
    trajectory = load_trajectory(recording.folder / f"episode-001{SUFFIX}")
    spans = behavior_spans(trajectory)
    assert spans
    for span in spans:
        assert (trajectory.behaviors[span.first : span.end] == BEHAVIORS.index(span.label)).all()
        assert SHORTEST <= span.end - span.first <= 30
