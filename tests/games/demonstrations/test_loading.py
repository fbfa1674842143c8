"""Demonstrations of every format, chosen by quality, split without leaks, and everything wrong with them said."""

from __future__ import annotations

import contextlib
import pickle
import warnings
import zipfile

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_episodes import ACTIONS, MANY, TWO, VECTOR, equal, make_episode, record

from newgameplus.errors import DataError
from newgameplus.games.demonstrations import (
    Demonstrations,
    OtherSpacesError,
    describe_demonstrations,
    episode_digest,
    load_demonstrations,
    split_demonstrations,
)
from newgameplus.recipe_agent import AgentDataSettings
from newgameplus.spaces import SINGLE, ActionSpec, ObservationPart, ObservationSpec

GRID = ObservationSpec((ObservationPart(SINGLE, "image", (3, 8, 9), "uint8", 0.0, 255.0),))


def load(path, observations=VECTOR, actions=TWO, **choice):
    return load_demonstrations(path, observations=observations, actions=actions, settings=AgentDataSettings(**choice))


def arrays(episodes, name=SINGLE):
    """Return episodes as D4RL keeps them."""
    lengths = [len(one) for one in episodes]
    ends = np.cumsum(lengths) - 1
    terminated = np.zeros(sum(lengths), bool)
    terminated[ends] = [one.terminated for one in episodes]
    truncated = np.zeros(sum(lengths), bool)
    truncated[ends] = [not one.terminated for one in episodes]
    return {
        "observations": np.concatenate([one.observations[name][:-1] for one in episodes]),
        "next_observations": np.concatenate([one.observations[name][1:] for one in episodes]),
        "actions": np.concatenate([one.actions for one in episodes]),
        "rewards": np.concatenate([one.rewards for one in episodes]),
        "terminals": terminated,
        "timeouts": truncated,
    }


def write_table(path, episodes, **extra):
    """Write a Parquet table with lists, in small groups of rows."""
    flat = arrays(episodes)
    number = np.repeat(np.arange(len(episodes)), [len(one) for one in episodes])
    seen = flat["observations"]
    columns = {
        "episode": number,
        "action": flat["actions"].tolist(),
        "reward": flat["rewards"],
        "terminated": flat["terminals"],
        "truncated": flat["timeouts"],
        "observation": seen.tolist(),
        **extra,
    }
    table = pyarrow.table({name: values for name, values in columns.items() if values is not None})
    pyarrow.parquet.write_table(table, path, row_group_size=3)
    return path


def same_but_for_the_last_sight(one, other):
    length = len(one)
    return (
        all(np.array_equal(one.observations[n][:length], other.observations[n][:length]) for n in one.observations)
        and np.array_equal(one.actions, other.actions)
        and np.array_equal(one.rewards, other.rewards)
        and one.terminated == other.terminated
    )


@pytest.mark.parametrize("kind", ACTIONS)
def test_npz_as_d4rl_keeps_it(tmp_path, kind):
    made = [make_episode(n, actions=ACTIONS[kind], length=2 + n, terminated=n != 1) for n in range(4)]
    np.savez_compressed(tmp_path / "demos.npz", **arrays(made))
    found = load(tmp_path / "demos.npz", actions=ACTIONS[kind]).episodes
    assert all(equal(one, other) for one, other in zip(made, found, strict=True))


@pytest.mark.parametrize("kind", ACTIONS)
def test_parquet_with_lists(tmp_path, kind):
    made = [make_episode(n, actions=ACTIONS[kind], length=2 + n, terminated=n != 1) for n in range(4)]
    found = load(write_table(tmp_path / "demos.parquet", made), actions=ACTIONS[kind]).episodes
    assert all(same_but_for_the_last_sight(one, other) for one, other in zip(made, found, strict=True))


def test_parquet_with_numbered_columns(tmp_path):
    made = [make_episode(n) for n in range(3)]
    seen = arrays(made)["observations"]
    columns = {f"obs_{n}": seen[:, n] for n in (2, 0, 1)}
    steps = np.tile(np.arange(5), 3)
    path = write_table(tmp_path / "demos.parquet", made, observation=None, step=steps, success=steps == 4, **columns)
    found = load(path).episodes
    assert all(same_but_for_the_last_sight(one, other) for one, other in zip(made, found, strict=True))
    assert [one.success for one in found] == [True] * 3


def test_pictures_of_any_layout(tmp_path):
    made = make_episode(0, observations=GRID)
    last = np.moveaxis(made.observations[SINGLE], 1, -1)
    flat = {"actions": made.actions, "rewards": made.rewards, "dones": np.arange(5) == 4}
    np.savez(tmp_path / "last.npz", observations=last, **flat)
    np.savez(tmp_path / "first.npz", observations=made.observations[SINGLE], **flat)
    for name in ("last", "first"):
        assert equal(load(tmp_path / f"{name}.npz", GRID).episodes[0], made)
    write_table(tmp_path / "demos.parquet", [made], observation=last[:-1].tolist())
    assert same_but_for_the_last_sight(load(tmp_path / "demos.parquet", GRID).episodes[0], made)


def test_dictionaries_of_parts(tmp_path):
    made = make_episode(0, observations=MANY)
    parts = {f"observations/{name}": rows for name, rows in made.observations.items()}
    ends = {"actions": made.actions, "rewards": made.rewards, "terminated": np.arange(5) == 4}
    np.savez(tmp_path / "demos.npz", **parts, **ends)
    assert equal(load(tmp_path / "demos.npz", MANY).episodes[0], made)
    columns = {name: rows[:-1].tolist() for name, rows in parts.items()}
    table = pyarrow.table({"action": ends["actions"], "reward": ends["rewards"], "done": ends["terminated"], **columns})
    pyarrow.parquet.write_table(table, tmp_path / "demos.parquet")
    assert same_but_for_the_last_sight(load(tmp_path / "demos.parquet", MANY).episodes[0], made)


def test_texts_become_the_tokens_of_the_game(tmp_path):
    from newgameplus.gymnasium_spaces import words_to_tokens

    spec = ObservationSpec((ObservationPart("mission", "tokens", (6,), "int64", sizes=(512,)),))
    texts = np.array(["go to the red ball"] * 3)
    np.savez(
        tmp_path / "a.npz", **{"observations/mission": texts}, actions=[0, 1, 1], rewards=[0, 0, 1.0], dones=[0, 0, 1]
    )
    found = load(tmp_path / "a.npz", spec).episodes[0]
    assert found.observations["mission"].tolist() == [words_to_tokens("go to the red ball", 6).tolist()] * 4


def test_minaris_own_data_sets(tmp_path, monkeypatch):
    """Written by Minari itself: dictionaries, texts, pictures packed as JPEG, choices that begin at 1."""
    minari = pytest.importorskip("minari")
    from gymnasium import spaces

    seen = spaces.Dict(
        {
            "picture": spaces.Box(0, 255, (40, 36, 3), np.uint8),
            "way": spaces.Discrete(4, start=1),
            "inner": spaces.Tuple([spaces.Box(-1, 1, (2,), np.float64)]),
            "mission": spaces.Text(20),
        }
    )
    done = spaces.Discrete(3, start=-1)
    smooth = np.linspace(0, 255, 40 * 36 * 3).reshape(40, 36, 3).astype(np.uint8)
    buffer = minari.data_collector.EpisodeBuffer(
        observations={
            "picture": [smooth] * 4,
            "way": [1, 2, 3, 4],
            "inner": (np.linspace(-1, 1, 8).reshape(4, 2),),
            "mission": ["go home"] * 4,
        },
        actions=np.array([-1, 0, 1]),
        rewards=[0.0, 0.5, 1.0],
        terminations=[False, False, True],
        truncations=[False] * 3,
        infos={"success": np.array([False, False, False, True])},
    )
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers("own/game-v3", [buffer], observation_space=seen, action_space=done)
    summary = describe_demonstrations("own/game-v3")
    assert summary.observations.names == ("inner.0", "mission", "picture", "way")
    found = load("own/game-v3", summary.observations, summary.actions).episodes[0]
    assert np.abs(found.observations["picture"][0].astype(int) - np.moveaxis(smooth, -1, 0)).mean() < 3
    assert found.observations["way"][:, 0].tolist() == [0, 1, 2, 3]
    assert found.observations["inner.0"].shape == (4, 2)
    assert found.actions.tolist() == [0, 1, 2]
    assert found.terminated
    assert found.success
    assert len(load(tmp_path / "own" / "game-v3", summary.observations, summary.actions).episodes) == 1


def test_minaris_minigrid_sets_fit_our_minigrid(tmp_path, monkeypatch):
    """A set of raw observations, whose spaces do not say that the picture is a grid, nor how long texts are."""
    minari = pytest.importorskip("minari")
    import gymnasium
    import minigrid  # noqa: F401
    from gymnasium import spaces

    from newgameplus.games.environments import describe_spaces, make_environments
    from newgameplus.recipe_agent import EnvironmentSettings

    choice = EnvironmentSettings(id="MiniGrid-DoorKey-5x5-v0")
    with make_environments(choice, count=1) as games:
        games.reset(0)
        game = gymnasium.make(choice.id)
        first, _ = game.reset(seed=3)
        rows, rewards = [first], []
        for action in (0, 1, 2, 3):
            shown, reward, *_ = game.step(action)
            rows.append(shown)
            rewards.append(reward)
        game.close()
    buffer = minari.data_collector.EpisodeBuffer(
        observations={
            "image": [row["image"] for row in rows],
            "direction": [int(row["direction"]) for row in rows],
            "mission": [row["mission"] for row in rows],
        },
        actions=np.arange(4),
        rewards=rewards,
        terminations=[False] * 4,
        truncations=[False] * 3 + [True],
    )
    space = spaces.Dict({**game.observation_space.spaces, "mission": spaces.Text(80)})
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers("door-v0", [buffer], observation_space=space, action_space=game.action_space)
    observations, actions = describe_spaces(choice)
    found = load(tmp_path / "door-v0", observations, actions).episodes[0]
    assert np.array_equal(found.observations["image"][2], np.moveaxis(rows[2]["image"], -1, 0))
    assert {name: rows.shape[1:] for name, rows in found.observations.items()} == {
        part.name: part.shape for part in observations.parts
    }


def test_a_folder_of_files(tmp_path):
    for n in (10, 2, 1):
        np.savez(tmp_path / f"part-{n}.npz", **arrays([make_episode(n)]))
    record(tmp_path / "recorded", [make_episode(20)])
    (tmp_path / "notes.txt").write_text("hello")
    found = load(tmp_path).episodes
    expected = [make_episode(n) for n in (1, 2, 10, 20)]
    assert all(equal(one, other) for one, other in zip(expected, found, strict=True))


def test_spaces_are_guessed_where_a_file_does_not_say(tmp_path):
    made = [make_episode(n, length=20) for n in range(3)]
    np.savez(tmp_path / "demos.npz", **arrays(made))
    summary = describe_demonstrations(tmp_path / "demos.npz")
    assert summary.guessed
    assert summary.actions == ActionSpec("discrete", (2,))
    assert summary.observations == ObservationSpec((ObservationPart(SINGLE, "vector", (3,)),))
    assert len(load(tmp_path / "demos.npz", summary.observations, summary.actions).episodes) == 3
    picture = make_episode(0, observations=GRID, actions=ACTIONS["continuous"])
    np.savez(tmp_path / "pictures.npz", **arrays([picture]))
    summary = describe_demonstrations(tmp_path / "pictures.npz")
    assert (summary.observations, summary.actions.kind) == (GRID, "continuous")
    assert equal(load(tmp_path / "pictures.npz", summary.observations, summary.actions).episodes[0], picture)


# -- choice ------------------------------------------------------------------------------------------------------------


def test_the_best_share_by_return(tmp_path):
    made = [make_episode(n, total=total) for n, total in enumerate([1.0, 5.0, 3.0, 4.0, 2.0])]
    record(tmp_path / "demos", made)
    assert [one.total for one in load(tmp_path / "demos", top=0.4).episodes] == [5.0, 4.0]
    assert [one.total for one in load(tmp_path / "demos", top=0.5).episodes] == [5.0, 3.0, 4.0]


def test_only_successes(tmp_path):
    record(tmp_path / "demos", [make_episode(n, success=n % 2 == 0) for n in range(5)])
    assert len(load(tmp_path / "demos", success_only=True).episodes) == 3
    record(tmp_path / "silent", [make_episode(n) for n in range(5)])
    with pytest.raises(DataError, match="do not say which episodes succeeded"):
        load(tmp_path / "silent", success_only=True)
    record(tmp_path / "losers", [make_episode(n, success=False) for n in range(5)])
    with pytest.raises(DataError, match="none of 5 episodes succeeded"):
        load(tmp_path / "losers", success_only=True)


def test_fewer_episodes_by_seed(tmp_path):
    record(tmp_path / "demos", [make_episode(n) for n in range(20)])
    choice = AgentDataSettings(max_episodes=5)

    def chosen(seed):
        found = load_demonstrations(
            tmp_path / "demos", observations=VECTOR, actions=TWO, settings=choice, seed=seed
        ).episodes
        return [one.source.rpartition(" ")[2] for one in found]

    assert chosen(0) == chosen(0)
    assert chosen(0) != chosen(1)
    assert len(set(chosen(0))) == 5
    assert list(map(int, chosen(0))) == sorted(map(int, chosen(0)))


def test_the_same_episode_counts_once_and_that_is_said(tmp_path, capsys):
    record(tmp_path / "demos", [make_episode(n % 3) for n in range(9)])
    found = load(tmp_path / "demos")
    assert len(found.episodes) == 3
    assert len(found.left_out) == 6
    assert "the same as" in capsys.readouterr().err


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=25),
    st.floats(0, 0.9),
    st.integers(0, 1000),
)
def test_no_split_leaks(capsys, kinds, share, seed):
    episodes = tuple(make_episode(kind, length=2, group=f"g{group}" if group else "") for kind, group in kinds)
    whole = Demonstrations(VECTOR, TWO, episodes)
    train, test = split_demonstrations(whole, share, seed)
    again, _ = split_demonstrations(whole, share, seed)
    assert train.episodes == again.episodes
    assert {id(one) for one in (*train.episodes, *test.episodes)} == {id(one) for one in episodes}
    assert len(train.episodes) + len(test.episodes) == len(episodes)
    assert train.episodes
    assert not {episode_digest(one) for one in train.episodes} & {episode_digest(one) for one in test.episodes}
    assert not {one.group for one in train.episodes if one.group} & {one.group for one in test.episodes if one.group}
    if share == 0:
        assert not test.episodes


def test_a_split_is_as_large_as_asked(capsys):
    whole = Demonstrations(VECTOR, TWO, tuple(make_episode(n) for n in range(50)))
    train, test = split_demonstrations(whole, 0.2, 0)
    assert (len(train.episodes), len(test.episodes)) == (40, 10)
    one = Demonstrations(VECTOR, TWO, (make_episode(0),))
    train, test = split_demonstrations(one, 0.2, 0)
    assert (len(train.episodes), len(test.episodes)) == (1, 0)
    assert "one group" in capsys.readouterr().err


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_other_spaces_are_told_apart_one_by_one(tmp_path):
    record(tmp_path / "demos", [make_episode(0)])
    now = ObservationSpec(
        (
            ObservationPart(SINGLE, "vector", (4,), features=("hp", "x", "y", "mana")),
            ObservationPart("map", "image", (3, 8, 8), "uint8", 0.0, 255.0),
        )
    )
    with pytest.raises(OtherSpacesError) as caught:
        load(tmp_path / "demos", now, ActionSpec("discrete", (3,), names=("left", "right", "jump")))
    said = [problem.message for problem in caught.value.problems]
    assert said == [
        "'observation' has 'mana', which is new",
        "'observation' stands in another order: x, y, hp then, hp, x, y, mana now",
        "the game shows 'map' (image 3x8x8), which was not recorded",
        "the set of actions has 'jump', which is new",
    ]
    assert caught.value.found == (VECTOR, TWO)
    assert caught.value.wanted[0] == now


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "choice", "sizes": (2, 2, 2), "features": ()}, "was a vector, and is a choice now"),
        ({"shape": (5,), "features": ()}, "was 3, and is 5 now"),
    ],
)
def test_other_shapes_and_kinds(tmp_path, change, message):
    record(tmp_path / "demos", [make_episode(0)])
    part = ObservationPart(**{**VECTOR.parts[0].__dict__, **change})
    with pytest.raises(OtherSpacesError, match=message):
        load(tmp_path / "demos", ObservationSpec((part,)))


def test_other_bounds_and_codes(tmp_path):
    made = make_episode(0, observations=MANY, actions=ACTIONS["continuous"])
    record(tmp_path / "demos", [made], observations=MANY, actions=ACTIONS["continuous"])
    parts = [
        ObservationPart("image", "image", (3, 40, 36), "float32", 0.0, 1.0),
        ObservationPart("view.grid", "grid", (2, 5, 5), "uint8", sizes=(12, 6)),
    ]
    with pytest.raises(OtherSpacesError) as caught:
        load(tmp_path / "demos", ObservationSpec(tuple(parts)), ActionSpec("continuous", (2,), (-2.0, 0.0), (1.0, 3.0)))
    assert len(caught.value.problems) == 5


def bad(tmp_path, **changes):
    flat = arrays([make_episode(0), make_episode(1)])
    flat.pop("next_observations")
    flat |= changes
    np.savez(tmp_path / "demos.npz", **{name: value for name, value in flat.items() if value is not None})
    return tmp_path / "demos.npz"


def changed(name, index, value):
    flat = arrays([make_episode(0), make_episode(1)])
    rows = flat[name].copy()
    rows[index] = value
    return {name: rows}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (changed("actions", 7, 2), "action 2 at step 2 is outside 0..1"),
        (changed("actions", 7, -1), "action -1 at step 2 is outside 0..1"),
        (changed("observations", (6, 1), np.nan), "observations 'observation': nan at step 1"),
        (changed("observations", (6, 1), np.inf), "observations 'observation': inf at step 1"),
        (changed("rewards", 8, np.nan), "rewards: nan at step 3"),
        ({"rewards": np.full(10, 1e300)}, "rewards: 1e\\+300 at step 0"),
        ({"actions": np.full(10, 0.5)}, "integers are needed, not 0.5"),
        ({"actions": np.zeros((10, 3))}, "actions: of shape \\[3\\], not \\[\\] \\(discrete\\)"),
        ({"observations": np.zeros((10, 4))}, "of shape \\[4\\], not \\[3\\]"),
        ({"observations": np.array(["a"] * 10)}, "numbers are needed, not <U1"),
        ({"rewards": np.zeros(9)}, "there are 10 'terminated' for 9 rewards"),
        ({"actions": np.zeros(9, int)}, "there are 9 'actions' for 10 rewards"),
        ({"actions": None, "acttions": np.zeros(10, int)}, "no 'actions'.*\n.*did you mean 'acttions'"),
        ({"rewards": None}, "no 'rewards'"),
        ({"observations": None, "observatons": np.zeros((10, 3))}, "did you mean 'observatons'"),
        ({"terminals": np.full(10, 7)}, "must be true or false"),
        ({"episode": np.arange(10) % 2}, "do not stand together"),
        ({"episode": np.zeros(10)}, "ends episode 0.0, which goes on"),
        ({"masks": np.zeros((10, 2))}, "action . at step 0 was not allowed"),
        ({"masks": np.zeros((10, 5))}, "masks: of shape"),
        ({"success": np.zeros(3)}, "neither to 10 steps nor to 2 episodes"),
        ({"rewards": np.array(1.0)}, "a single number"),
    ],
)
def test_wrong_numbers_are_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        load(bad(tmp_path, **changes))


def test_every_problem_is_named_at_once_and_can_be_left_out(tmp_path, capsys):
    flat = arrays([make_episode(n) for n in range(3)])
    flat["actions"][2] = 9
    flat["rewards"][7] = np.nan
    flat["observations"][7] = np.nan
    np.savez(tmp_path / "demos.npz", **flat)
    with pytest.raises(DataError) as caught:
        load(tmp_path / "demos.npz")
    assert len(caught.value.problems) == 3
    assert str(tmp_path / "demos.npz") in str(caught.value)
    found = load(tmp_path / "demos.npz", skip_bad=True)
    assert len(found.episodes) == 1
    assert equal(found.episodes[0], make_episode(2))
    assert len(found.left_out) == 3
    assert "action 9" in capsys.readouterr().err
    assert len(load(tmp_path / "demos.npz", skip_bad=True, max_episodes=1).episodes) == 1
    flat["actions"][:] = 9
    np.savez(tmp_path / "demos.npz", **flat)
    with pytest.raises(DataError, match="no episode is left"):
        load(tmp_path / "demos.npz", skip_bad=True)


def test_continuous_actions_outside_the_space(tmp_path):
    made = make_episode(0, actions=ACTIONS["continuous"])
    flat = arrays([made])
    flat["actions"][3, 1] = 3.5
    np.savez(tmp_path / "demos.npz", **flat)
    with pytest.raises(DataError, match=r"action 3.5 at step 3 is outside 0..3"):
        load(tmp_path / "demos.npz", actions=ACTIONS["continuous"])
    flat["actions"][3, 1] = 3.0001
    np.savez(tmp_path / "demos.npz", **flat)
    assert load(tmp_path / "demos.npz", actions=ACTIONS["continuous"]).episodes[0].actions[3, 1] == 3.0


def test_huge_rewards_are_kept_and_said(tmp_path, capsys):
    record(tmp_path / "demos", [make_episode(0, total=1e9)])
    assert load(tmp_path / "demos").episodes[0].total == 1e9
    assert "rewards of up to 1e+09" in capsys.readouterr().err


def test_empty_and_one_step_episodes(tmp_path, capsys):
    whole, ended, cut = make_episode(0), make_episode(1, length=1), make_episode(2, length=1, terminated=False)
    record(tmp_path / "demos", [whole, ended, cut])
    with h5py.File(tmp_path / "demos" / "data" / "main_data.hdf5", "r+") as file:
        file.copy("episode_0", "episode_3")
        for name in ("actions", "rewards", "terminations", "truncations"):
            file[f"episode_3/{name}"].resize(0, axis=0)
        file["episode_3/observations"].resize(1, axis=0)
    metadata = tmp_path / "demos" / "data" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"total_episodes": 3', '"total_episodes": 4'))
    found = load(tmp_path / "demos")
    assert [len(one) for one in found.episodes] == [5, 1]
    said = capsys.readouterr().err
    assert "episode 2: a single step that ended nothing" in said
    assert "episode 3: has no steps" in said


def test_a_pickle_is_never_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'pwned')!r}, 'w')",))

    flat = arrays([make_episode(0)])
    objects = np.empty(5, object)
    objects[:] = [Evil() for _ in range(5)]
    np.savez(tmp_path / "demos.npz", **{**flat, "actions": objects}, allow_pickle=True)
    with pytest.raises(DataError, match="pickles are never loaded"):
        load(tmp_path / "demos.npz")
    np.savez(tmp_path / "other.npz", **flat)
    with zipfile.ZipFile(tmp_path / "other.npz", "a") as archive:
        archive.writestr("success.npy", pickle.dumps(Evil()))
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path / "other.npz")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["demos.npz", "demos.parquet", "main_data.hdf5"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.98])
def test_files_that_are_cut_off(tmp_path, name, share):
    made = [make_episode(n, observations=GRID) for n in range(3)]
    np.savez_compressed(tmp_path / "demos.npz", **arrays(made))
    write_table(tmp_path / "demos.parquet", made)
    record(tmp_path / "demos", made, observations=GRID)
    file = tmp_path / "demos" / "data" / name if name.endswith("hdf5") else tmp_path / name
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError) as caught:
        load(tmp_path / "demos" if name.endswith("hdf5") else file, GRID)
    assert "remedy" in str(caught.value)


@pytest.mark.parametrize("name", ["demos.npz", "demos.parquet", "main_data.hdf5", "metadata.json"])
def test_any_damage_is_an_error_of_ours_or_harmless(tmp_path, name):
    made = [make_episode(n) for n in range(3)]
    np.savez_compressed(tmp_path / "demos.npz", **arrays(made))
    write_table(tmp_path / "demos.parquet", made)
    record(tmp_path / "demos", made)
    inside = name in ("main_data.hdf5", "metadata.json")
    file = tmp_path / "demos" / "data" / name if inside else tmp_path / name
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed_bytes = bytearray(content)
        for place in rng.integers(0, len(content), 4):
            changed_bytes[place] = rng.integers(0, 256)
        file.write_bytes(bytes(changed_bytes))
        with contextlib.suppress(DataError):
            load(tmp_path / "demos" if inside else file)


def test_missing_pieces_of_a_recording(tmp_path):
    record(tmp_path / "demos", [make_episode(0), make_episode(1)])
    data = tmp_path / "demos" / "data"
    with h5py.File(data / "main_data.hdf5", "r+") as file:
        file.move("episode_0/rewards", "episode_0/reward")
        del file["episode_1"]
    with pytest.raises(DataError) as caught:
        load(tmp_path / "demos")
    assert "no rewards" in str(caught.value)
    assert "did you mean 'reward'" in str(caught.value)
    assert "episode_1 is missing: the file has 1 of 2 episodes" in str(caught.value)
    (data / "main_data.hdf5").unlink()
    with pytest.raises(DataError, match="file of episodes is missing"):
        load(tmp_path / "demos")
    (data / "metadata.json").write_text("{}")
    with pytest.raises(DataError, match="total_episodes"):
        load(tmp_path / "demos")


def test_an_array_that_claims_to_be_huge_is_not_read(tmp_path):
    record(tmp_path / "demos", [make_episode(0)])
    with h5py.File(tmp_path / "demos" / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_0/observations"]
        file["episode_0"].create_dataset("observations", shape=(10**12, 3), dtype="f4", chunks=(1000, 3))
    with pytest.raises(DataError, match="GiB"):
        load(tmp_path / "demos")


def test_more_than_fits_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    from newgameplus.games import demonstrations

    class Memory:
        available = 10_000

    record(tmp_path / "demos", [make_episode(n, observations=GRID, length=20) for n in range(3)], observations=GRID)
    monkeypatch.setattr(demonstrations.psutil, "virtual_memory", Memory)
    with pytest.raises(DataError, match=r"would take .* GiB") as caught:
        load(tmp_path / "demos", GRID)
    assert "max_episodes" in str(caught.value)
    assert len(load(tmp_path / "demos", GRID, max_episodes=1).episodes) == 1


@pytest.mark.parametrize("extension", ["npz", "parquet"])
def test_paths_of_any_script(tmp_path, extension):
    path = tmp_path / "Démos ü 🎮" / f"記録.{extension}"
    path.parent.mkdir()
    if extension == "npz":
        np.savez(path, **arrays([make_episode(0)]))
    else:
        write_table(path, [make_episode(0)])
    assert len(load(path).episodes) == 1


def test_nothing_there(tmp_path):
    (tmp_path / "demos").mkdir()
    with pytest.raises(DataError, match="did you mean 'demos'"):
        load(tmp_path / "demo")
    with pytest.raises(DataError, match="no demonstrations are there"):
        load(tmp_path / "demos")
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(DataError, match="no known format"):
        load(tmp_path / "x.txt")
    with pytest.raises(DataError, match="no such file"):
        load("a\0b")
    np.savez(tmp_path / "empty.npz", observations=np.zeros((0, 3)), actions=np.zeros(0, int), rewards=np.zeros(0))
    with pytest.raises(DataError, match="there are no episodes"):
        load(tmp_path / "empty.npz")


def test_tables_that_are_out_of_order(tmp_path):
    made = [make_episode(n) for n in range(2)]
    steps = np.tile([0, 1, 3, 2, 4], 2)
    with pytest.raises(DataError, match=r"step 2 stands behind step 3 \(row 3\)"):
        load(write_table(tmp_path / "a.parquet", made, step=steps))
    ragged = [[0.0, 1.0, 2.0]] * 9 + [[0.0]]
    with pytest.raises(DataError, match="different lengths"):
        load(write_table(tmp_path / "b.parquet", made, observation=ragged))
    gaps = [0] * 9 + [None]
    with pytest.raises(DataError, match="empty cells"):
        load(write_table(tmp_path / "c.parquet", made, action=gaps))


def test_other_formats_of_minari_are_refused(tmp_path):
    record(tmp_path / "demos", [make_episode(0)])
    metadata = tmp_path / "demos" / "data" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"hdf5"', '"arrow"'))
    with pytest.raises(DataError, match="kept as 'arrow', not HDF5"):
        load(tmp_path / "demos")
