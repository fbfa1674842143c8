"""Pretraining clips without human labels, as an engine gives them: small frames, and which action was held where.

Shared by the model zoo (``model_zoo.py``) and by ``generalize.py``. Doom through ViZDoom, MiniGrid with its expert,
MinAtar and the fight of this package with random play. Every recording is kept as one file and made once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from newgameplus.files import atomic_path
from newgameplus.games.environment_making import make_copy
from newgameplus.games.record.acting import ACTIONS
from newgameplus.games.record.doom import to_trajectory
from newgameplus.games.record.doom_engine import FRAME_RATE, Frame, play
from newgameplus.games.record.doom_maps import find_map
from newgameplus.games.record.experts import find_expert
from newgameplus.games.record.labelling import action_spans
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.train.selfsupervision import ClipBatch

HEIGHT, WIDTH, FRAMES, STRIDE = 48, 64, 4, 3
WINDOW = FRAMES * STRIDE / FRAME_RATE
LABELS = tuple(ACTIONS)
BT601 = (77, 150, 29)
"""Weights of red, green and blue in grey, in 256ths."""


@dataclass(frozen=True)
class Stream:
    """Small frames of one map or game, and where in them one action was held.

    Attributes:
        frames: uint8 [frames, height, width, 3].
        holds: int64 [holds, 4]; first and last frame at which a clip may begin, action, episode.
    """

    frames: npt.NDArray[np.uint8]
    holds: npt.NDArray[np.int64]

    def part(self, keep: npt.NDArray[np.bool_]) -> Stream:
        """Return the same frames with some of the holds."""
        return Stream(self.frames, self.holds[keep])


def shrink(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture, uint8 [rows, columns, 3], at the size of the clips: means of equal parts."""
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(planes, (HEIGHT, WIDTH), mode="area")[0]
    return small.round().to(torch.uint8).permute(1, 2, 0).numpy()


def doom_stream(
    name: str, episodes: int, folder: Path, *, seconds: float = 16.0, first: int = 0, view: str = "first"
) -> Stream:
    """Record a Doom map, or read what was recorded.

    Args:
        name: The map.
        episodes: How many.
        folder: Where recordings are kept.
        seconds: Length of each.
        first: Number of the first episode; episodes of the same number are the same.
        view: Through the player's eyes, or from ``behind``.
    """
    behind = "" if view == "first" else f"-{view}"
    path = folder / f"{name.replace(':', '_')}{behind}-{first}-{episodes}-{seconds:g}.npz"
    if path.exists():
        return _read(path)
    frames: list[npt.NDArray[np.uint8]] = []
    holds: list[tuple[int, int, int, int]] = []
    for episode in range(first, first + episodes):
        seed = int(np.random.SeedSequence([sum(name.encode()), len(name), episode]).generate_state(1)[0] % (1 << 31))
        base, rows = len(frames), []
        for tic, frame in enumerate(play(find_map(name), seed=seed, frames=round(seconds * FRAME_RATE), view=view)):
            if tic % STRIDE == 0:
                frames.append(shrink(frame.picture))
            rows.append(Frame(frame.picture[:0], frame.buttons, frame.action, frame.variables, frame.cut))
        for span in action_spans(to_trajectory(rows, {})):
            begin, last = -(-span.first // STRIDE), (span.end - 1) // STRIDE - FRAMES + 1
            if last >= begin:
                holds.append((base + begin, base + last, LABELS.index(span.label), episode))
    return _write(path, Stream(np.array(frames), np.array(holds, np.int64).reshape(-1, 4)))


def play_game(name: str, seed: int, noise: float, steps: int) -> Iterator[tuple[npt.NDArray[np.uint8], int, bool]]:
    """Play one episode; yield each picture, the action taken at it, and whether it was the last.

    Args:
        name: Id of a game with a picture.
        seed: Of the game and of the player.
        noise: Share of actions drawn by lot; the others are the expert's, where there is one.
        steps: At most so many.
    """
    environment = make_copy(EnvironmentSettings(id=name), render=True).environment
    try:
        yield from _play(environment, name, seed, noise, steps)
    finally:
        environment.close()


def _play(environment: Any, name: str, seed: int, noise: float, steps: int) -> Any:
    random = np.random.default_rng(seed)
    environment.reset(seed=seed)
    expert = find_expert(name, environment) if noise < 1.0 else None
    if expert:
        expert.begin()
    count = int(environment.action_space.n)
    inner = environment.unwrapped
    names = action_names(name)
    held, left = 0, 0
    for _ in range(steps):
        picture = np.asarray(environment.render())
        if picture.dtype != np.uint8:  # MinAtar's are shares of full light
            picture = (255 * picture).round().astype(np.uint8)
        if expert is None or random.random() < noise:
            if not left:
                held, left = int(random.integers(min(count, len(names)))), int(random.integers(1, 4))
            action, left = held, left - 1
        else:
            action = expert.act()
        ended, cut = environment.step(action)[2:4]
        # MinAtar now and then repeats the action before; what it did is the label.
        done = getattr(getattr(inner, "game", None), "last_action", action)
        yield picture, int(done), bool(ended or cut)
        if ended or cut:
            return


def action_names(name: str) -> tuple[str, ...]:
    """Return the names of a game's actions."""
    if name.startswith("MiniGrid"):
        return ("left", "right", "forward", "pickup", "drop", "toggle")
    if name.startswith("MinAtar"):
        return ("stay", "left", "up", "right", "down", "fire")
    from newgameplus.games.toy_arena import FIRST_ACTIONS

    return FIRST_ACTIONS


def grid_stream(names: Sequence[str], labels: Sequence[str], steps: int, folder: Path) -> Stream:
    """Record games seen from above: before and after each action, two frames each."""
    path = folder / f"{'+'.join(name.replace('/', '_') for name in names)}-{steps}.npz"
    if path.exists():
        return _read(path)
    frames: list[npt.NDArray[np.uint8]] = []
    holds: list[tuple[int, int, int, int]] = []
    for number, name in enumerate(names):
        mine, episode, noise = 0, 0, 0.5 if name.startswith("MiniGrid") else 1.0
        while mine < steps:
            played = [(shrink(p), a) for p, a, _ in play_game(name, 50_000 + episode, noise, 60)]
            for (before, action), (after, _) in itertools.pairwise(played):
                label = action_names(name)[action]
                if label in labels:
                    holds.append((len(frames), len(frames), labels.index(label), 1000 * number + episode))
                    frames += [before, before, after, after]
            mine, episode = mine + len(played), episode + 1
    return _write(path, Stream(np.array(frames), np.array(holds, np.int64)))


def _write(path: Path, stream: Stream) -> Stream:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, frames=stream.frames, holds=stream.holds)
    return stream


def _read(path: Path) -> Stream:
    with np.load(path, allow_pickle=False) as archive:
        return Stream(archive["frames"], archive["holds"])


def joined(streams: Sequence[Stream], *, grey: bool) -> Stream:
    """Put streams behind one another; grey ones have one channel."""
    frames = np.concatenate([stream.frames for stream in streams])
    if grey:
        frames = (frames.astype(np.uint16) @ np.array(BT601, np.uint16) >> 8).astype(np.uint8)[..., None]
    bases = np.cumsum([0] + [len(stream.frames) for stream in streams[:-1]])
    holds = [stream.holds + np.array([base, base, 0, 0]) for stream, base in zip(streams, bases, strict=True)]
    return Stream(frames, np.concatenate(holds))


def endless(stream: Stream, size: int, seed: int) -> Iterator[ClipBatch]:
    """Yield batches without end: every hold once per round, its clip beginning anywhere within it."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(stream.holds))
        for chosen in np.array_split(order, max(len(order) // size, 1)):
            starts = random.integers(stream.holds[chosen, 0], stream.holds[chosen, 1] + 1)
            clips = torch.from_numpy(stream.frames[starts[:, None] + np.arange(FRAMES)])
            yield ClipBatch(clips, torch.from_numpy(stream.holds[chosen, 2]))


def middle_clips(stream: Stream) -> tuple[torch.Tensor, npt.NDArray[np.int64]]:
    """Return one clip of each hold, from its middle, uint8 [holds, frames, height, width, channels], and its action."""
    starts = (stream.holds[:, 0] + stream.holds[:, 1]) // 2
    return torch.from_numpy(stream.frames[starts[:, None] + np.arange(FRAMES)]), stream.holds[:, 2]
