"""A policy of Stable-Baselines3 acts here as it did there, on every observation of real games."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from newgameplus.errors import PretrainedModelError
from newgameplus.games.environment_making import make_copy
from newgameplus.pretrained.policy import Policy, load_policy, save_policy
from newgameplus.pretrained.policy_request import PolicyRequest
from newgameplus.pretrained.policy_sources import SpacesDifferError, load_policy_source, load_policy_start
from newgameplus.recipe_agent import AgentModelSettings, EnvironmentSettings
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

gym = pytest.importorskip("gymnasium")
sb3 = pytest.importorskip("stable_baselines3")
from gymnasium import spaces  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class AnyGame(gym.Env):  # type: ignore[misc]
    """Shows and takes whatever a space allows."""

    def __init__(self, seen: Any, done: Any) -> None:
        self.observation_space, self.action_space = seen, done

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


def cart_pole() -> Any:
    return gym.make("CartPole-v1")


def pendulum() -> Any:
    return gym.make("Pendulum-v1")


def grid_pictures() -> Any:
    minigrid = pytest.importorskip("minigrid.wrappers")
    return minigrid.ImgObsWrapper(minigrid.RGBImgPartialObsWrapper(gym.make("MiniGrid-Empty-5x5-v0")))


def grid_dictionary() -> Any:
    minigrid = pytest.importorskip("minigrid.wrappers")
    game = minigrid.RGBImgPartialObsWrapper(gym.make("MiniGrid-DoorKey-5x5-v0"))
    return gym.wrappers.FilterObservation(game, filter_keys=["image", "direction"])


def flat_codes() -> Any:
    minigrid = pytest.importorskip("minigrid.wrappers")
    return minigrid.ImgObsWrapper(gym.make("MiniGrid-DoorKey-5x5-v0"))


BOX = spaces.Box(-2.0, 2.0, (3,))
GAMES: dict[str, tuple[str, str, Callable[[], Any], dict[str, Any]]] = {
    "ppo-cartpole": ("PPO", "MlpPolicy", cart_pole, {}),
    "ppo-relu-other-widths": (
        "PPO",
        "MlpPolicy",
        cart_pole,
        {"net_arch": {"pi": [32], "vf": [48, 16]}, "activation_fn": torch.nn.ReLU},
    ),
    "ppo-elu-list": ("PPO", "MlpPolicy", cart_pole, {"net_arch": [24, 24], "activation_fn": torch.nn.ELU}),
    "ppo-linear": ("PPO", "MlpPolicy", cart_pole, {"net_arch": []}),
    "a2c-cartpole": ("A2C", "MlpPolicy", cart_pole, {}),
    "dqn-cartpole": ("DQN", "MlpPolicy", cart_pole, {}),
    "ppo-pendulum": ("PPO", "MlpPolicy", pendulum, {"log_std_init": -0.5}),
    "ppo-pictures": ("PPO", "CnnPolicy", grid_pictures, {}),
    "ppo-pictures-apart": ("PPO", "CnnPolicy", grid_pictures, {"share_features_extractor": False, "net_arch": [16]}),
    "ppo-pictures-not-divided": (
        "PPO",
        "MultiInputPolicy",
        lambda: AnyGame(spaces.Dict({"p": spaces.Box(0, 255, (3, 40, 44), np.uint8)}), spaces.Discrete(3)),
        {"normalize_images": False, "features_extractor_kwargs": {"normalized_image": True, "cnn_output_dim": 40}},
    ),
    "dqn-pictures": ("DQN", "CnnPolicy", grid_pictures, {"features_extractor_kwargs": {"features_dim": 64}}),
    "ppo-dictionary": ("PPO", "MultiInputPolicy", grid_dictionary, {}),
    "ppo-flat-codes": ("PPO", "MlpPolicy", flat_codes, {}),
    "a2c-multi-discrete": (
        "A2C",
        "MlpPolicy",
        lambda: AnyGame(spaces.MultiDiscrete([3, 4]), spaces.MultiDiscrete([3, 2, 4])),
        {},
    ),
    "ppo-multi-binary": ("PPO", "MlpPolicy", lambda: AnyGame(spaces.MultiBinary(5), spaces.MultiBinary(4)), {}),
    "ppo-number": ("PPO", "MlpPolicy", lambda: AnyGame(spaces.Discrete(6), spaces.Discrete(3)), {}),
    "ppo-mixed": (
        "PPO",
        "MultiInputPolicy",
        lambda: AnyGame(
            spaces.Dict({"z": BOX, "a": spaces.Discrete(3), "it's": spaces.MultiDiscrete([2, 3])}),
            spaces.Box(-1, 1, (2,)),
        ),
        {},
    ),
}


def specs(game: Any) -> tuple[ObservationSpec, ActionSpec]:
    """Describe spaces as this library does."""
    seen = game.observation_space
    named = seen.spaces.items() if isinstance(seen, spaces.Dict) else [("observation", seen)]
    done = game.action_space
    if isinstance(done, spaces.Discrete):
        actions = ActionSpec("discrete", (int(done.n),))
    elif isinstance(done, spaces.MultiDiscrete):
        actions = ActionSpec("multi-discrete", tuple(map(int, done.nvec)))
    elif isinstance(done, spaces.MultiBinary):
        actions = ActionSpec("binary", (int(done.n),))
    else:
        actions = ActionSpec("continuous", done.shape, tuple(map(float, done.low)), tuple(map(float, done.high)))
    return ObservationSpec(tuple(describe(name, space) for name, space in named)), actions


def describe(name: str, space: Any) -> ObservationPart:
    if isinstance(space, spaces.Discrete):
        return ObservationPart(name, "choice", (1,), "int64", sizes=(int(space.n),))
    if isinstance(space, spaces.MultiDiscrete):
        return ObservationPart(name, "choice", space.shape, "int64", sizes=tuple(map(int, space.nvec)))
    if len(space.shape) == 3:
        shape = space.shape if space.shape[0] == 3 else (space.shape[2], *space.shape[:2])
        return ObservationPart(name, "image", shape, "uint8", 0.0, 255.0)
    return ObservationPart(name, "vector", space.shape)


def ours(spec: ObservationSpec, seen: Any) -> dict[str, np.ndarray]:
    """Bring a batch of what a game shows into this library's form."""
    arrays = seen if isinstance(seen, dict) else {"observation": seen}
    found = {}
    for part in spec.parts:
        values = np.asarray(arrays[part.name])
        if part.kind in ("image", "grid") and values.shape[1:] != part.shape:
            values = np.moveaxis(values, -1, 1)
        found[part.name] = values.reshape(len(values), *part.shape)
    return found


def played(game: Any, count: int = 60) -> Any:
    """Return a batch of what a game shows to random play."""
    seen, _ = game.reset(seed=3)
    game.action_space.seed(3)
    found = [seen]
    while len(found) < count:
        seen, _, ended, cut, _ = game.step(game.action_space.sample())
        found.append(game.reset()[0] if ended or cut else seen)
    if isinstance(found[0], dict):
        return {name: np.stack([np.asarray(one[name]) for one in found]) for name in found[0]}
    return np.stack([np.asarray(one) for one in found])


def their_answer(model: Any, seen: Any) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return logits or means, values, and log deviations as Stable-Baselines3 has them."""
    tensors, _ = model.policy.obs_to_tensor(seen)
    with torch.no_grad():
        if hasattr(model, "q_net"):
            return model.q_net(tensors), None, None
        policy = model.policy
        features = policy.extract_features(tensors)
        mine, theirs = features if isinstance(features, tuple) else (features, features)
        logits = policy.action_net(policy.mlp_extractor.forward_actor(mine))
        values = policy.value_net(policy.mlp_extractor.forward_critic(theirs)).squeeze(-1)
    return logits, values, getattr(policy, "log_std", None)


def assert_same(policy: Policy, model: Any, seen: Any) -> None:
    observations = ours(policy.shape.observations, seen)
    logits, values, scale = their_answer(model, seen)
    with torch.no_grad():
        answer = policy.network({name: torch.as_tensor(array) for name, array in observations.items()})
    assert (answer.distribution.answer - logits).abs().max() < 1e-5
    if values is not None:
        assert (answer.values - values).abs().max() < 1e-4
    if scale is not None:
        assert policy.network.log_scale is not None
        assert torch.equal(policy.network.log_scale.data, scale.data)
    expected, _ = model.predict(seen, deterministic=True)
    actions, _ = policy.act(observations, temperature=0)
    assert np.allclose(actions, expected, atol=1e-5)


def model_of(name: str, seed: int = 1) -> tuple[Any, Any]:
    algorithm, kind, make, kwargs = GAMES[name]
    if algorithm == "DQN":
        model = sb3.DQN(kind, make(), policy_kwargs=kwargs, seed=seed, buffer_size=100)
    else:
        model = getattr(sb3, algorithm)(kind, make(), policy_kwargs=kwargs, seed=seed, device="cpu")
    with torch.no_grad():  # an untrained actor answers next to nothing
        for weight in model.policy.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    return model, make()


@pytest.mark.parametrize("name", list(GAMES))
def test_acts_as_there(name: str, tmp_path: Path) -> None:
    model, game = model_of(name)
    path = tmp_path / "policy.zip"
    model.save(path)
    seen = played(game)
    observations, actions = specs(game)
    settings = AgentModelSettings()
    policy = load_policy_start(
        f"sb3:{path}", settings=settings, observations=observations, actions=actions, environment=name, seed=0
    )
    assert policy.shape.observations == observations
    assert policy.shape.actions == actions
    assert_same(policy, model, seen)
    save_policy(tmp_path / "model", policy)
    assert_same(load_policy(tmp_path / "model"), model, seen)


@pytest.mark.parametrize("name", ["ppo-cartpole", "ppo-dictionary", "ppo-mixed", "dqn-pictures"])
def test_needs_no_game_to_be_read(name: str, tmp_path: Path) -> None:
    model, game = model_of(name)
    model.save(tmp_path / "policy.zip")
    policy = load_policy_source(f"sb3:{tmp_path / 'policy.zip'}")
    assert_same(policy, model, played(game))


def test_a_trained_policy_scores_as_there(tmp_path: Path) -> None:
    model = sb3.PPO("MlpPolicy", "CartPole-v1", n_steps=256, seed=0, device="cpu").learn(2048)
    model.save(tmp_path / "ppo.zip")
    policy = load_policy_source(f"sb3:{tmp_path / 'ppo.zip'}")
    game = cart_pole()
    seen, _ = game.reset(seed=5)
    for _ in range(500):
        expected, _ = model.predict(seen, deterministic=True)
        actions, _ = policy.act({"observation": seen[None]}, temperature=0)
        assert int(actions[0]) == int(expected)
        seen, _, ended, cut, _ = game.step(int(expected))
        if ended or cut:
            seen, _ = game.reset()


@pytest.mark.parametrize("kind", ["grid", "image"])
def test_codes_seen_flat_there_are_seen_alike_here(kind: str, tmp_path: Path) -> None:
    model, game = model_of("ppo-flat-codes")
    model.save(tmp_path / "policy.zip")
    if kind == "grid":
        part = ObservationPart("observation", "grid", (3, 7, 7), "uint8", sizes=(11, 6, 4))
    else:
        part = ObservationPart("observation", "image", (3, 7, 7), "uint8", 0.0, 255.0)
    request = PolicyRequest(ObservationSpec((part,)), ActionSpec("discrete", (7,)))
    policy = load_policy_source(f"sb3:{tmp_path / 'policy.zip'}", request)
    assert policy.shape.observations.parts == (part,)
    assert_same(policy, model, played(game))


def test_a_board_that_is_no_picture_is_turned_channels_first(tmp_path: Path) -> None:
    board = spaces.Box(0, 10, (4, 5, 2), np.uint8)
    model = sb3.PPO("MlpPolicy", AnyGame(board, spaces.Discrete(3)), seed=0, device="cpu")
    model.save(tmp_path / "policy.zip")
    part = ObservationPart("observation", "grid", (2, 4, 5), "uint8", sizes=(11, 11))
    request = PolicyRequest(ObservationSpec((part,)), ActionSpec("discrete", (3,)))
    policy = load_policy_source(f"sb3:{tmp_path / 'policy.zip'}", request)
    assert policy.shape.observations.parts == (part,)
    assert_same(policy, model, played(AnyGame(board, spaces.Discrete(3))))


def test_buttons_seen_as_choices(tmp_path: Path) -> None:
    model, game = model_of("ppo-multi-binary")
    model.save(tmp_path / "policy.zip")
    part = ObservationPart("observation", "choice", (5,), "int64", sizes=(2,) * 5)
    request = PolicyRequest(ObservationSpec((part,)), ActionSpec("binary", (4,)))
    policy = load_policy_source(f"sb3:{tmp_path / 'policy.zip'}", request)
    assert policy.shape.observations.parts == (part,)
    assert_same(policy, model, played(game))


def test_dictionary_parts_in_the_games_order(tmp_path: Path) -> None:
    model, game = model_of("ppo-mixed")
    model.save(tmp_path / "policy.zip")
    observations, actions = specs(game)
    turned = ObservationSpec(observations.parts[::-1])
    policy = load_policy_source(f"sb3:{tmp_path / 'policy.zip'}", PolicyRequest(turned, actions))
    assert policy.shape.observations == turned
    assert_same(policy, model, played(game))


def test_normalization_is_carried_over_as_numbers(tmp_path: Path) -> None:
    venv = VecNormalize(DummyVecEnv([pendulum]), clip_obs=1.5, epsilon=1e-4)
    model = sb3.PPO("MlpPolicy", venv, n_steps=64, seed=0, device="cpu").learn(128)
    model.save(tmp_path / "policy.zip")
    rms = venv.obs_rms
    numbers = {"mean": rms.mean, "var": rms.var, "count": rms.count, "clip": venv.clip_obs, "epsilon": venv.epsilon}
    np.savez(tmp_path / "normalizer.npz", **numbers)
    settings = AgentModelSettings(start="sb3:x", options={"normalizer": str(tmp_path / "normalizer.npz")})
    game = pendulum()
    observations, actions = specs(game)
    policy = load_policy_source(f"sb3:{tmp_path / 'policy.zip'}", PolicyRequest(observations, actions, settings))
    seen = played(game)
    normal = venv.normalize_obs(seen)
    assert np.abs(normal).max() == pytest.approx(1.5)
    logits, _, _ = their_answer(model, normal)
    save_policy(tmp_path / "model", policy)
    for one in (policy, load_policy(tmp_path / "model")):
        with torch.no_grad():
            answer = one.network({"observation": torch.as_tensor(seen)})
        assert (answer.distribution.answer - logits).abs().max() < 1e-5
        assert float(one.network.normalizer.count) == pytest.approx(rms.count)


def test_only_the_parts_with_statistics_are_normalized(tmp_path: Path) -> None:
    seen = spaces.Dict({"near": spaces.Box(-1, 1, (2,)), "far": spaces.Box(-500, 500, (3,))})
    game = AnyGame(seen, spaces.Discrete(3))
    venv = VecNormalize(DummyVecEnv([lambda: game]), norm_obs_keys=["near"])
    model = sb3.PPO("MultiInputPolicy", venv, n_steps=64, seed=0, device="cpu").learn(64)
    model.save(tmp_path / "policy.zip")
    numbers: dict[str, Any] = {"clip": venv.clip_obs, "epsilon": venv.epsilon}
    for name, rms in venv.obs_rms.items():
        numbers |= {f"mean/{name}": rms.mean, f"var/{name}": rms.var, f"count/{name}": rms.count}
    np.savez(tmp_path / "n.npz", **numbers)
    settings = AgentModelSettings(start="sb3:x", options={"normalizer": str(tmp_path / "n.npz")})
    policy = load_policy_source(f"sb3:{tmp_path / 'policy.zip'}", PolicyRequest(*specs(game), settings))
    shown = played(game)
    logits, _, _ = their_answer(model, venv.normalize_obs(dict(shown)))
    with torch.no_grad():
        answer = policy.network({name: torch.as_tensor(array) for name, array in shown.items()})
    assert (answer.distribution.answer - logits).abs().max() < 1e-4  # numbers up to 500, in single precision


def test_temperature_makes_a_q_network_surer(tmp_path: Path) -> None:
    model, game = model_of("dqn-cartpole")
    model.save(tmp_path / "policy.zip")
    observations = {"observation": torch.as_tensor(played(game))}
    answers = []
    for temperature in (1.0, 0.1):
        settings = AgentModelSettings(start="sb3:x", options={"temperature": temperature})
        policy = load_policy_source(f"sb3:{tmp_path / 'policy.zip'}", PolicyRequest(settings=settings))
        assert policy.facts["temperature"] == temperature
        with torch.no_grad():
            answers.append(policy.network(observations))
    assert torch.equal(answers[0].distribution.mode(), answers[1].distribution.mode())
    assert (answers[1].distribution.entropy() <= answers[0].distribution.entropy() + 1e-6).all()
    expected = answers[0].distribution.answer.mean(dim=1)
    assert (answers[0].values - expected).abs().max() < 1e-5


def rewrite(path: Path, **members: bytes | None) -> Path:
    """Write an archive again with other members."""
    after = path.with_name("other.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(after, "w") as new:
        for name in old.namelist():
            content = members.get(name.replace(".", "_"), old.read(name))
            if content is not None:
                new.writestr(name, content)
    return after


def test_archives_of_old_versions(tmp_path: Path) -> None:
    """Version 1 wrote gym's spaces, ordered dictionaries and layers that actor and critic share."""
    model, game = model_of("ppo-mixed")
    model.save(tmp_path / "policy.zip")
    with zipfile.ZipFile(tmp_path / "policy.zip") as archive:
        data = json.loads(archive.read("data"))
    data["observation_space"] = {
        ":type:": "<class 'gym.spaces.dict.Dict'>",
        ":serialized:": "gASV",
        "spaces": "OrderedDict([('a', Discrete(3)), (\"it's\", MultiDiscrete([2 3])), "
        "('z', Box([-2. -2. -2.], [2. 2. 2.], (3,), float32))])",
    }
    data["action_space"] = {
        ":type:": "<class 'gym.spaces.box.Box'>",
        ":serialized:": "gASV",
        "dtype": "float32",
        "shape": [2],
        "low": "[-1. -1.]",
        "high": "[1. 1.]",
    }
    import io

    tensors = model.policy.state_dict()
    shared = torch.nn.Linear(11, 11)
    tensors["mlp_extractor.shared_net.0.weight"] = shared.weight.data
    tensors["mlp_extractor.shared_net.0.bias"] = shared.bias.data
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    path = rewrite(tmp_path / "policy.zip", data=json.dumps(data).encode(), policy_pth=buffer.getvalue())
    observations, actions = specs(game)
    policy = load_policy_source(f"sb3:{path}", PolicyRequest(observations, actions))
    assert policy.shape.observations == observations
    assert policy.shape.trunk == (11,)
    seen = played(game)
    tensors_seen, _ = model.policy.obs_to_tensor(seen)
    with torch.no_grad():
        features = torch.tanh(shared(model.policy.extract_features(tensors_seen)))
        expected = model.policy.action_net(model.policy.mlp_extractor.policy_net(features))
        shown = ours(observations, seen)
        answer = policy.network({name: torch.as_tensor(array) for name, array in shown.items()})
    assert (answer.distribution.answer - expected).abs().max() < 1e-5


def test_other_spaces_are_named(tmp_path: Path) -> None:
    model, _ = model_of("ppo-pendulum")
    model.save(tmp_path / "policy.zip")
    part = ObservationPart("observation", "vector", (4,))
    actions = ActionSpec("continuous", (1,), (-1.0,), (1.0,))
    with pytest.raises(SpacesDifferError, match="2 differences") as caught:
        load_policy_start(
            f"sb3:{tmp_path / 'policy.zip'}",
            settings=AgentModelSettings(),
            observations=ObservationSpec((part,)),
            actions=actions,
            environment="Other-v1",
            seed=0,
        )
    assert [(one.side, one.what) for one in caught.value.differences] == [("observation", "shape"), ("action", "range")]
    assert "ngp surgery" in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "kind", "kwargs", "said"),
    [
        ("SAC", "MlpPolicy", {}, "off-policy"),
        ("PPO", "MlpPolicy", {"use_sde": True}, "use_sde"),
        ("PPO", "MlpPolicy", {"policy_kwargs": {"activation_fn": torch.nn.Softplus}}, "Softplus"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(
    algorithm: str, kind: str, kwargs: dict[str, Any], said: str, tmp_path: Path
) -> None:
    getattr(sb3, algorithm)(kind, pendulum(), device="cpu", **kwargs).save(tmp_path / "policy.zip")
    with pytest.raises(PretrainedModelError, match=said) as caught:
        load_policy_source(f"sb3:{tmp_path / 'policy.zip'}")
    assert "factory" in str(caught.value)


class Extractor(sb3.common.torch_layers.BaseFeaturesExtractor):  # type: ignore[misc]
    def __init__(self, space: Any) -> None:
        super().__init__(space, 8)
        self.layer = torch.nn.Linear(4, 8)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.layer(values))


def test_a_network_of_ones_own_is_refused(tmp_path: Path) -> None:
    kwargs = {"features_extractor_class": Extractor}
    sb3.PPO("MlpPolicy", cart_pole(), policy_kwargs=kwargs, device="cpu").save(tmp_path / "policy.zip")
    with pytest.raises(PretrainedModelError, match="Extractor") as caught:
        load_policy_source(f"sb3:{tmp_path / 'policy.zip'}")
    assert "factory" in str(caught.value)


OWN_GAMES = """
import gymnasium
import minigrid.wrappers as wrappers

def pictures():
    return wrappers.ImgObsWrapper(wrappers.RGBImgPartialObsWrapper(gymnasium.make("MiniGrid-Empty-5x5-v0")))

def dictionary():
    game = wrappers.RGBImgPartialObsWrapper(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))
    return gymnasium.wrappers.FilterObservation(game, filter_keys=["image", "direction"])

def codes():
    return wrappers.ImgObsWrapper(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))

def flat():
    return wrappers.FlatObsWrapper(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))
"""


@pytest.mark.parametrize(
    ("algorithm", "kind", "name"),
    [
        ("PPO", "MlpPolicy", "CartPole-v1"),
        ("A2C", "MlpPolicy", "Pendulum-v1"),
        ("DQN", "MlpPolicy", "FrozenLake-v1"),
        ("PPO", "CnnPolicy", "pictures"),
        ("PPO", "MultiInputPolicy", "dictionary"),
        ("PPO", "MlpPolicy", "codes"),
        ("PPO", "MlpPolicy", "flat"),
    ],
)
def test_games_as_this_library_makes_them(algorithm: str, kind: str, name: str, tmp_path: Path) -> None:
    """Spaces in our words fit the archive's, and translated observations are answered as the game's own are there."""
    if not name.endswith("-v1"):
        pytest.importorskip("minigrid")
        (tmp_path / "own_games.py").write_text(OWN_GAMES)
        name = f"{tmp_path / 'own_games.py'}:{name}"
    copy = make_copy(EnvironmentSettings(id=name))
    options = {"buffer_size": 100} if algorithm == "DQN" else {}
    model = getattr(sb3, algorithm)(kind, copy.environment, device="cpu", seed=0, **options)
    with torch.no_grad():
        for weight in model.policy.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    model.save(tmp_path / "policy.zip")
    policy = load_policy_start(
        f"sb3:{tmp_path / 'policy.zip'}",
        settings=AgentModelSettings(),
        observations=copy.observations.spec,
        actions=copy.actions.spec,
        environment=name,
        seed=0,
    )
    game = copy.environment
    seen, _ = game.reset(seed=2)
    raws = []
    for _ in range(100):
        raws.append(seen)
        expected, _ = model.predict(seen, deterministic=True)
        actions, _ = policy.act(copy.observations.encode([seen]), temperature=0)
        assert np.allclose(actions[0], expected, atol=1e-5)
        seen, _, ended, cut, _ = game.step(game.action_space.sample())
        if ended or cut:
            seen, _ = game.reset()
    if isinstance(seen, dict):
        whole: Any = {key: np.stack([np.asarray(one[key]) for one in raws]) for key in seen}
    else:
        whole = np.stack([np.asarray(one) for one in raws])
    logits, _, _ = their_answer(model, whole)
    with torch.no_grad():
        shown = {key: torch.as_tensor(values) for key, values in copy.observations.encode(raws).items()}
        assert (policy.network(shown).distribution.answer - logits).abs().max() < 1e-5
