"""Trajectories: what is written is what is read, and what is damaged is named."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest

from newgameplus.errors import DataError
from newgameplus.games.trajectories import SUFFIX, Trajectory, load_trajectory, save_trajectory


@pytest.fixture
def trajectory() -> Trajectory:
    random = np.random.default_rng(3)
    return Trajectory(
        frame_rate=35.0,
        button_names=("ATTACK", "SPEED"),
        buttons=random.integers(0, 2, (40, 2)).astype(np.uint8),
        action_names=("attack", "idle"),
        actions=random.integers(-1, 2, 40).astype(np.int16),
        behavior_names=("attack", "dead", "hit"),
        behaviors=random.integers(-1, 3, 40).astype(np.int16),
        variable_names=("HEALTH", "ANGLE", "DEAD"),
        variables=random.normal(size=(40, 3)).astype(np.float32),
        cuts=random.random(40) < 0.1,
        metadata={"map": "freedoom2:MAP02", "näme": "ünïcode", "seed": 3},
    )


def test_what_is_written_is_read_back(tmp_path, trajectory):
    path = tmp_path / f"an episode ü{SUFFIX}"
    save_trajectory(path, trajectory)
    back = load_trajectory(path)
    for field in fields(Trajectory):
        before, after = getattr(trajectory, field.name), getattr(back, field.name)
        if isinstance(before, np.ndarray):
            assert after.dtype == before.dtype
            np.testing.assert_array_equal(after, before)
        else:
            assert after == before
    assert back.frames == 40


def test_equal_content_gives_equal_bytes(tmp_path, trajectory):
    digests = set()
    for name in ("a", "b"):
        save_trajectory(tmp_path / name, trajectory)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    save_trajectory(tmp_path / "c", replace(trajectory, actions=np.roll(trajectory.actions, 1)))
    assert hashlib.sha256((tmp_path / "c").read_bytes()).hexdigest() not in digests


def test_a_variable_is_found_by_name(trajectory):
    np.testing.assert_array_equal(trajectory.variable("ANGLE"), trajectory.variables[:, 1])
    with pytest.raises(DataError, match="AMMO") as caught:
        trajectory.variable("AMMO")
    assert "HEALTH, ANGLE, DEAD" in str(caught.value)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text", "no arrays", "lengths", "widths"])
def test_what_is_damaged_is_named(tmp_path, trajectory, damage):
    path = tmp_path / f"episode-000{SUFFIX}"
    if damage == "lengths":
        trajectory = replace(trajectory, actions=trajectory.actions[:-1])
    if damage == "widths":
        trajectory = replace(trajectory, button_names=("ATTACK",))
    if damage != "missing":
        save_trajectory(path, trajectory)
    whole = path.read_bytes() if path.exists() else b""
    if damage == "empty":
        path.write_bytes(b"")
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    if damage == "text":
        path.write_text("path,label\n")
    if damage == "no arrays":
        with path.open("wb") as handle:
            np.savez(handle, other=np.zeros(3))
    with pytest.raises(DataError) as caught:
        load_trajectory(path)
    assert path.name in str(caught.value)
    assert "record the episode again" in str(caught.value)


def test_a_pickle_inside_is_never_executed(tmp_path, trajectory):
    path = tmp_path / "evil.npz"
    with path.open("wb") as handle:
        np.savez(handle, allow_pickle=True, about=np.array({"format": 1}, dtype=object))
    with pytest.raises(DataError):
        load_trajectory(path)
