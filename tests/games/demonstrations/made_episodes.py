"""Episodes of made-up games, and ways to write them down."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from newgameplus.games.episodes import Episode
from newgameplus.games.record.recording_writer import RecordingWriter
from newgameplus.spaces import SINGLE, ActionSpec, ObservationPart, ObservationSpec

VECTOR = ObservationSpec((ObservationPart(SINGLE, "vector", (3,), features=("x", "y", "hp")),))
TWO = ActionSpec("discrete", (2,), names=("left", "right"))
MANY = ObservationSpec(
    (
        ObservationPart("image", "image", (3, 40, 36), "uint8", 0.0, 255.0),
        ObservationPart("view.grid", "grid", (2, 5, 5), "uint8", sizes=(11, 6)),
        ObservationPart("mission", "tokens", (6,), "int64", sizes=(512,)),
        ObservationPart("deep/way", "choice", (2,), "int64", sizes=(4, 3)),
    )
)
ACTIONS = {
    "discrete": TWO,
    "multi-discrete": ActionSpec("multi-discrete", (3, 4)),
    "binary": ActionSpec("binary", (5,)),
    "continuous": ActionSpec("continuous", (2,), (-1.0, 0.0), (1.0, 3.0)),
}


def make_episode(
    seed: int,
    *,
    observations: ObservationSpec = VECTOR,
    actions: ActionSpec = TWO,
    length: int = 5,
    success: bool | None = None,
    terminated: bool = True,
    group: str = "",
    total: float | None = None,
    masks: bool = False,
) -> Episode:
    """Make an episode of random numbers that lie within the spaces."""
    rng = np.random.default_rng(seed)
    seen = {}
    for part in observations.parts:
        shape = (length + 1, *part.shape)
        if part.kind == "vector":
            seen[part.name] = rng.normal(size=shape).astype("float32")
        elif part.kind == "image":
            seen[part.name] = rng.integers(0, 256, shape).astype(part.dtype)
        else:
            sizes = np.array(part.sizes)
            tops = sizes.reshape(-1, 1, 1) if part.kind == "grid" else sizes
            seen[part.name] = rng.integers(0, tops, shape).astype(part.dtype)
    if actions.kind == "continuous":
        done = rng.uniform(actions.low, actions.high, (length, *actions.shape)).astype("float32")
    else:
        tops = 2 if actions.kind == "binary" else np.array(actions.sizes)
        done = rng.integers(0, tops, (length, *(actions.shape or (1,)))).astype("int64")
        done = done[:, 0] if actions.kind == "discrete" else done
    rewards = rng.normal(size=length).astype("float32")
    if total is not None:
        rewards = np.append(np.zeros(length - 1), total).astype("float32")
    allowed = None
    if masks:
        allowed = rng.random((length, actions.width)) < 0.5
        allowed[np.arange(length), done] = True
    return Episode(seen, done, rewards, terminated, success, group, allowed)


def record(path: Path, episodes: list[Episode], **options) -> Path:
    """Write episodes as a recording of ours."""
    observations, actions = options.pop("observations", VECTOR), options.pop("actions", TWO)
    with RecordingWriter(path, observations, actions, **options) as writer:
        for number, episode in enumerate(episodes):
            writer.add(episode, seed=number)
    return path


def equal(one: Episode, other: Episode) -> bool:
    """Say whether two episodes are the same to the last bit."""
    return (
        one.observations.keys() == other.observations.keys()
        and all(np.array_equal(one.observations[name], other.observations[name]) for name in one.observations)
        and all(one.observations[name].dtype == other.observations[name].dtype for name in one.observations)
        and np.array_equal(one.actions, other.actions)
        and one.actions.dtype == other.actions.dtype
        and np.array_equal(one.rewards, other.rewards)
        and (one.terminated, one.success) == (other.terminated, other.success)
        and (one.masks is None) == (other.masks is None)
        and (one.masks is None or np.array_equal(one.masks, other.masks))
    )
