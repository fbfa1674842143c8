"""Our recordings: whole or not there, read back to the last bit, and read by Minari itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_episodes import ACTIONS, MANY, TWO, VECTOR, equal, make_episode, record

from newgameplus.errors import DataError, StorageError
from newgameplus.games.demonstrations import describe_demonstrations, load_demonstrations
from newgameplus.games.record.recording_writer import RecordingWriter
from newgameplus.spaces import ActionSpec


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("observations", [VECTOR, MANY], ids=["vector", "many"])
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path, kind, observations):
    actions = ACTIONS[kind]
    made = [
        make_episode(n, observations=observations, actions=actions, length=3 + n, success=[True, False, None][n])
        for n in range(3)
    ]
    record(tmp_path / "demos", made, observations=observations, actions=actions, environment="Game-v1")
    found = load_demonstrations(tmp_path / "demos", observations=observations, actions=actions)
    assert all(equal(one, other) for one, other in zip(made, found.episodes, strict=True))
    assert found.environment == "Game-v1"
    assert found.left_out == ()
    summary = describe_demonstrations(tmp_path / "demos")
    assert (summary.observations, summary.actions, summary.guessed) == (observations, actions, False)
    assert summary.lengths == (3, 4, 5)
    assert summary.successes == (True, False, None)
    assert np.allclose(summary.totals, [one.total for one in made])


def test_masks_groups_and_time_limits_are_kept(tmp_path):
    made = [make_episode(n, masks=True, terminated=False, group="level 1") for n in range(2)]
    record(tmp_path / "demos", made)
    found = load_demonstrations(tmp_path / "demos", observations=VECTOR, actions=TWO).episodes
    assert all(equal(one, other) for one, other in zip(made, found, strict=True))
    assert {one.group for one in found} == {"level 1"}


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("observations", [VECTOR, MANY], ids=["vector", "many"])
def test_minari_reads_our_recordings(tmp_path, monkeypatch, kind, observations):
    minari = pytest.importorskip("minari")
    actions = ACTIONS[kind]
    made = [make_episode(n, observations=observations, actions=actions, length=2 + n) for n in range(3)]
    record(tmp_path / "my-demos-v3", made, observations=observations, actions=actions, policy="random")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("my-demos-v3")
    assert (dataset.total_episodes, dataset.total_steps) == (3, 9)
    for episode, one in zip(made, dataset.iterate_episodes(), strict=True):
        assert np.array_equal(one.actions, episode.actions)
        assert np.array_equal(one.rewards, episode.rewards)
        assert (one.terminations[-1], one.truncations[-1]) == (episode.terminated, not episode.terminated)
        assert not one.terminations[:-1].any()
        shown = one.observations
        if observations is VECTOR:
            assert np.array_equal(shown, episode.observations["observation"])
            assert all(row in dataset.observation_space for row in shown)
        else:
            for part in MANY.parts:
                node = shown
                for name in part.name.split("/"):
                    node = node[name]
                assert np.array_equal(node, episode.observations[part.name])
        assert all(row in dataset.action_space for row in one.actions)
    assert [one["seed"] for one in dataset.storage.get_episode_metadata(range(3))] == [0, 1, 2]


def test_minari_can_add_to_our_recording_and_we_read_it(tmp_path):
    minari = pytest.importorskip("minari")
    record(tmp_path / "demos", [make_episode(0)])
    dataset = minari.MinariDataset(tmp_path / "demos" / "data")
    one = make_episode(7)
    buffer = minari.data_collector.EpisodeBuffer(
        observations=one.observations["observation"],
        actions=one.actions,
        rewards=one.rewards,
        terminations=np.arange(5) == 4,
        truncations=np.zeros(5, bool),
    )
    dataset.update_dataset_from_buffer([buffer])
    found = load_demonstrations(tmp_path / "demos", observations=VECTOR, actions=TWO).episodes
    assert equal(found[1], one)


def test_a_recording_is_never_overwritten(tmp_path):
    record(tmp_path / "demos", [make_episode(0)])
    before = (tmp_path / "demos" / "data" / "main_data.hdf5").read_bytes()
    with pytest.raises(DataError, match="never overwritten"):
        record(tmp_path / "demos", [make_episode(1)])
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="never overwritten"):
        record(tmp_path / "other", [make_episode(1)])
    with pytest.raises(DataError, match="no recording"):
        record(tmp_path / "other", [make_episode(1)], append=True)
    with pytest.raises(DataError, match="other spaces"):
        record(tmp_path / "demos", [], actions=ActionSpec("discrete", (3,)), append=True)
    assert (tmp_path / "demos" / "data" / "main_data.hdf5").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demos", "other"]


def test_episodes_are_added_behind_those_that_are_there(tmp_path):
    made = [make_episode(n) for n in range(4)]
    record(tmp_path / "demos", made[:2], append=True, about={"seed": 3})
    record(tmp_path / "demos", made[2:], append=True, about={"seed": 4})
    found = load_demonstrations(tmp_path / "demos", observations=VECTOR, actions=TWO).episodes
    assert all(equal(one, other) for one, other in zip(made, found, strict=True))
    metadata = json.loads((tmp_path / "demos" / "data" / "metadata.json").read_text())
    assert (metadata["total_episodes"], metadata["total_steps"]) == (4, 20)
    expected = [{"episodes": 2, "seed": 3}, {"episodes": 2, "seed": 4}]
    assert metadata["newgameplus"]["recordings"] == expected


def test_a_recording_killed_between_its_two_files_is_whole_and_can_be_added_to(tmp_path):
    made = [make_episode(n) for n in range(3)]
    record(tmp_path / "demos", made[:1])
    metadata = tmp_path / "demos" / "data" / "metadata.json"
    before = metadata.read_text()
    record(tmp_path / "demos", made[1:2], append=True)
    metadata.write_text(before)  # as if the process had died before the second rename
    found = load_demonstrations(tmp_path / "demos", observations=VECTOR, actions=TWO).episodes
    assert len(found) == 1
    record(tmp_path / "demos", made[2:], append=True)
    found = load_demonstrations(tmp_path / "demos", observations=VECTOR, actions=TWO).episodes
    assert len(found) == 2
    assert equal(found[1], made[2])


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    def fail(**options):
        with RecordingWriter(tmp_path / "demos", VECTOR, TWO, **options) as writer:
            writer.add(make_episode(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
    record(tmp_path / "demos", [make_episode(0)])
    with pytest.raises(ZeroDivisionError):
        fail(append=True)
    assert sorted(path.name for path in (tmp_path / "demos" / "data").iterdir()) == ["main_data.hdf5", "metadata.json"]
    assert len(load_demonstrations(tmp_path / "demos", observations=VECTOR, actions=TWO).episodes) == 1


def test_no_episodes_leave_nothing(tmp_path):
    record(tmp_path / "demos", [])
    assert list(tmp_path.iterdir()) == []


def test_a_killed_recording_leaves_no_half_data_set(tmp_path):
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from made_episodes import *
with RecordingWriter({str(tmp_path / "demos")!r}, VECTOR, TWO) as writer:
    for number in range(3):
        writer.add(make_episode(number))
    print("ready", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "demos").exists()
    time.sleep(0)
    record(tmp_path / "demos", [make_episode(0)])
    assert len(load_demonstrations(tmp_path, observations=VECTOR, actions=TWO).episodes) == 1


def test_equal_recordings_are_equal_files(tmp_path):
    for name in ("a", "b"):
        record(tmp_path / name / "demos", [make_episode(n, observations=MANY) for n in range(3)], observations=MANY)
    one, other = ((tmp_path / name / "demos" / "data" / "main_data.hdf5").read_bytes() for name in ("a", "b"))
    assert one == other


def test_episodes_of_other_shapes_are_refused(tmp_path):
    wrong = make_episode(0, observations=MANY)
    with pytest.raises(DataError, match="observations"):
        record(tmp_path / "demos", [wrong])
    with pytest.raises(DataError, match="actions of shape"):
        record(tmp_path / "demos", [make_episode(0, actions=ACTIONS["binary"])])
    with pytest.raises(DataError, match="no steps"):
        record(tmp_path / "demos", [make_episode(0, length=0)])
    assert not (tmp_path / "demos").exists()


def test_paths_of_any_script(tmp_path):
    path = record(tmp_path / "Aufnahmen ü 録画 🎮" / "démo é", [make_episode(0)])
    assert len(load_demonstrations(path, observations=VECTOR, actions=TWO).episodes) == 1
    metadata = json.loads((path / "data" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["dataset_id"] == "d-mo-v0"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_says_so(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="cannot write"):
            record(tmp_path / "demos", [make_episode(0)])
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_says_so(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            record(tmp_path / "demos", [make_episode(n, observations=MANY) for n in range(5)], observations=MANY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "demos").exists()


def test_what_the_file_of_episodes_holds(tmp_path):
    path = record(tmp_path / "demos", [make_episode(3, success=True, masks=True)])
    with h5py.File(path / "data" / "main_data.hdf5") as file:
        attributes = dict(file["episode_0"].attrs)
        assert attributes["total_steps"] == 5
        assert attributes["success"]
        assert attributes["return"] == pytest.approx(make_episode(3).total)
        assert file["episode_0/infos/action_mask"].shape == (6, 2)
