"""Imitation: all kinds of actions, with masks and memory; what it is weighted by; exact to resume."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.toy_games import Identity, Masked, Remember, ToyEnvironments
from tests.train.small_policies import FAST, same_weights, small_policy, train

from newgameplus.errors import DivergedError, TrainingError
from newgameplus.games.episodes import Episode
from newgameplus.recipe_agent import CloneSettings
from newgameplus.spaces import SINGLE
from newgameplus.tensors import load_tensors
from newgameplus.train import cloning as cloning_module
from newgameplus.train.cloning import CloneResult, Cloning, agreement, clone_policy

GAMES: dict[str, Any] = {
    "discrete": (lambda: Identity("discrete"), {}),
    "multi-discrete": (lambda: Identity("multi-discrete"), {}),
    "binary": (lambda: Identity("binary"), {}),
    "continuous": (lambda: Identity("continuous"), {}),
    "picture": (lambda: Identity("discrete", "picture"), {"features": 16}),
    "tokens": (lambda: Identity("discrete", "tokens"), {"features": 16}),
    "masked": (Masked, {}),
    "gru": (Remember, {"memory": "gru", "memory_width": 16}),
    "lstm": (Remember, {"memory": "lstm", "memory_width": 16}),
}


def best(games: ToyEnvironments) -> np.ndarray:
    if isinstance(games, Identity):
        target = games.target.astype(np.float32 if games.kind == "continuous" else np.int64)
        return target[:, 0] if games.kind == "discrete" else target
    if isinstance(games, Masked):
        return 4 - games.allowed[:, ::-1].argmax(axis=1)
    assert isinstance(games, Remember)
    return games.cue.copy()


def demonstrations(games: ToyEnvironments, waves: int = 6, seed: int = 0, wrong: bool = False) -> list[Episode]:
    """Let someone play who knows the answers, or with ``wrong`` someone who does anything in every other episode."""
    generator = np.random.default_rng(seed)
    seen = games.reset(seed)
    found = []
    for _ in range(waves):
        steps = []
        for _ in range(games.length):
            actions = best(games)
            if wrong:
                actions[::2] = generator.integers(0, games.actions.sizes[0], len(actions[::2]))
            masks = games.masks()
            step = games.step(actions)
            steps.append((seen, actions, step.rewards, masks))
            seen = step.observations
        assert step.final is not None
        for row in range(games.count):
            observations = {
                name: np.stack([*(s[0][name][row] for s in steps), step.final[name][row]]) for name in step.final
            }
            done = np.stack([s[1][row] for s in steps])
            masks = None if steps[0][3] is None else np.stack([s[3][row] for s in steps])
            rewards = np.array([s[2][row] for s in steps], np.float32)
            found.append(Episode(observations, done, rewards, True, bool(rewards.sum() > 0), masks=masks))
    return found


def clone(
    network: torch.nn.Module,
    episodes: list[Episode],
    folder: Path,
    on_check: Any = None,
    held_out: Any = (),
    **more: Any,
) -> CloneResult:
    settings = CloneSettings(**{"epochs": 30, "batch_size": 64, "learning_rate": 0.005, "sequence": 8, **more})
    cloning = Cloning("cloned", settings, 0, folder / "clone.safetensors", fresh=True)
    return clone_policy(network, episodes, cloning, held_out=held_out, on_check=on_check)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(GAMES))
def test_it_does_what_the_demonstrators_did(name: str, tmp_path: Path) -> None:
    make, shape = GAMES[name]
    games = make()
    network = small_policy(games, **shape)
    result = clone(network, demonstrations(games), tmp_path, held_out=demonstrations(games, 2, seed=1))
    last = result.rows[-1]
    assert last["validation_accuracy"] > 0.9
    assert last["validation_loss"] < result.rows[0]["validation_loss"]
    matches, steps = agreement(network, demonstrations(games, 2, seed=1))
    assert matches.sum() / steps.sum() == pytest.approx(last["validation_accuracy"])
    assert (steps == games.length).all()


def test_the_critic_learns_the_returns(tmp_path: Path) -> None:
    games = Remember()
    network = small_policy(games, memory="gru", memory_width=16)
    episodes = demonstrations(games)
    result = clone(network, episodes, tmp_path, epochs=80)
    scale = float(np.sqrt(result.return_scale["variance"]))
    seen = {SINGLE: torch.as_tensor(episodes[0].observations[SINGLE][:-1])[:, None]}
    starts = torch.tensor([[True], *[[False]] * 4])
    with torch.no_grad():
        values = network.unroll(seen, network.initial_state(1), starts).values
    expected = 0.99 ** torch.arange(4, -1, -1) / scale
    torch.testing.assert_close(values, expected.float(), atol=0.15 / scale, rtol=0.0)


@pytest.mark.parametrize("weights", ["return", "advantage"])
def test_good_episodes_count_for_more(weights: str, tmp_path: Path) -> None:
    games = Identity("discrete")
    episodes = demonstrations(games, 10, wrong=True)
    right = []
    for kind in ("equal", weights):
        (tmp_path / kind).mkdir()
        network = small_policy(games)
        clone(network, episodes, tmp_path / kind, weights=kind)
        with torch.no_grad():
            share = network({SINGLE: torch.eye(4)}).distribution.answer.softmax(-1).diagonal().mean()
        right.append(float(share))
    assert right[1] > right[0] + 0.1


def test_a_bonus_for_entropy_leaves_more_of_it(tmp_path: Path) -> None:
    games = Identity("discrete")
    left = []
    for bonus in (0.0, 0.5):
        (tmp_path / str(bonus)).mkdir()
        network = small_policy(games)
        clone(network, demonstrations(games), tmp_path / str(bonus), entropy=bonus)
        with torch.no_grad():
            left.append(float(network({SINGLE: torch.eye(4)}).distribution.entropy().mean()))
    assert left[1] > left[0] + 0.1


@pytest.mark.parametrize("name", ["discrete", "gru"])
def test_an_imitation_that_was_cut_off_goes_on_exactly(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloning_module, "_SAVE_SECONDS", 0.0)
    make, shape = GAMES[name]
    games = make()
    episodes = demonstrations(games, 3)
    start = small_policy(games, **shape)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, broken, again = (copy.deepcopy(start) for _ in range(3))
    expected = clone(whole, episodes, tmp_path / "a", held_out=episodes[:2])

    def stop(rows: list[dict[str, Any]]) -> None:
        if len(rows) == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clone(broken, episodes, tmp_path / "b", stop, held_out=episodes[:2])
    assert load_tensors(tmp_path / "b" / "clone.safetensors")[1]["position"]["epoch"] == 10
    result = clone(again, episodes, tmp_path / "b", held_out=episodes[:2])
    assert same_weights(again, whole)
    assert [{**row, "seconds": 0} for row in result.rows] == [{**row, "seconds": 0} for row in expected.rows]


def test_one_step_is_enough_and_none_is_said(tmp_path: Path) -> None:
    games = Identity("discrete")
    network = small_policy(games)
    one = demonstrations(games, 1)[0]
    short = Episode(
        {name: values[:2] for name, values in one.observations.items()}, one.actions[:1], one.rewards[:1], False
    )
    assert clone(network, [short], tmp_path).steps == 30
    nothing = Episode({SINGLE: one.observations[SINGLE][:1]}, one.actions[:0], one.rewards[:0], False)
    with pytest.raises(TrainingError, match="no steps"):
        clone(network, [nothing], tmp_path)


def test_automatic_epochs_take_about_two_thousand_steps(tmp_path: Path) -> None:
    games = Identity("discrete")
    episodes = demonstrations(games, 40)
    result = clone(small_policy(games), episodes, tmp_path, epochs="auto")
    assert 1800 <= result.steps <= 2200


def test_numbers_that_are_not_finite_are_traced_to_the_demonstrations(tmp_path: Path) -> None:
    games = Identity("discrete")
    episodes = demonstrations(games, 1)
    episodes[0].observations[SINGLE][2] = np.nan
    with pytest.raises(DivergedError, match="not finite") as caught:
        clone(small_policy(games), episodes, tmp_path)
    assert "demonstrations' 'observation'" in str(caught.value)


@pytest.mark.slow
def test_playing_goes_on_from_what_was_imitated(tmp_path: Path) -> None:
    games = Remember()
    network = small_policy(games, memory="gru", memory_width=16)
    result = clone(network, demonstrations(games), tmp_path, epochs=60)
    played = train(network, games, tmp_path, FAST, return_scale=result.return_scale)
    assert played.rows[0]["return"] > 0.7
    assert played.rows[-1]["return"] > 0.9
