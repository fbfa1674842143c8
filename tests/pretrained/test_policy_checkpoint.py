"""Weights from other programs' files: plain tensors only, and everything that does not fit is named at once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.policy import Policy, load_policy, save_policy
from newgameplus.pretrained.policy_sources import load_policy_source, load_policy_start
from newgameplus.recipe_agent import AgentModelSettings
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

VECTOR = ObservationSpec((ObservationPart("observation", "vector", (4,)),))
FRAMES = ObservationSpec((ObservationPart("observation", "image", (4, 84, 84), "uint8", 0.0, 255.0),))
DISCRETE = ActionSpec("discrete", (2,))
CLEAN = {"critic.4": "critic_head", "actor.4": "actor_head"}
FACTORY = """
from newgameplus.pretrained.policy_shape import PolicyShape
def make(observations, actions):
    return PolicyShape(observations, actions, actor=(64, 64), critic=(64, 64), normalize=False)
def whole():
    from newgameplus.pretrained.policy_network import PolicyNetwork
    from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec
    seen = ObservationSpec((ObservationPart("observation", "vector", (4,)),))
    return PolicyNetwork(PolicyShape(seen, ActionSpec("discrete", (2,)), normalize=False))
def other():
    return 3
def broken(observations, actions):
    raise ValueError("not today")
"""


class Agent(nn.Module):
    """As single-file programs have it."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = self.layers(1)
        self.actor = self.layers(2)

    @staticmethod
    def layers(outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


class Pixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(4, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 512),
            nn.ReLU(),
        )
        self.actor = nn.Linear(512, 2)
        self.critic = nn.Linear(512, 1)


class Gauss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.actor_mean = Agent.layers(3)
        self.actor_logstd = nn.Parameter(torch.randn(1, 3))
        self.critic = Agent.layers(1)


def start(
    path: Path, *, observations: ObservationSpec = VECTOR, actions: ActionSpec = DISCRETE, **settings: Any
) -> Policy:
    name = f"checkpoint:{path}"
    return load_policy_start(
        name,
        settings=AgentModelSettings(**{"normalize": False, **settings, "start": name}),
        observations=observations,
        actions=actions,
        environment="Game-v1",
        seed=3,
    )


def saved(path: Path, network: nn.Module) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(network.state_dict(), path)
    else:
        torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_single_file_agent_answers_as_there(suffix: str, tmp_path: Path) -> None:
    agent = Agent()
    policy = start(saved(tmp_path / f"agent{suffix}", agent), options={"names": CLEAN})
    seen = torch.randn(20, 4)
    save_policy(tmp_path / "model", policy)
    for one in (policy, load_policy(tmp_path / "model")):
        with torch.no_grad():
            answer = one.network({"observation": seen})
            assert torch.allclose(answer.distribution.answer, agent.actor(seen), atol=1e-6)
            assert torch.allclose(answer.values, agent.critic(seen).squeeze(-1), atol=1e-6)


def test_an_agent_with_pixels_answers_as_there(tmp_path: Path) -> None:
    agent = Pixels()
    names = {f"network.{n}": f"encoders.0.convolutions.{n}" for n in (0, 2, 4)}
    names |= {"network.7": "encoders.0.linear", "actor": "actor_head", "critic": "critic_head"}
    policy = start(
        saved(tmp_path / "agent.pth", agent),
        observations=FRAMES,
        features=512,
        actor=(),
        critic=(),
        options={"names": names},
    )
    seen = torch.randint(0, 256, (3, 4, 84, 84), dtype=torch.uint8)
    with torch.no_grad():
        answer = policy.network({"observation": seen})
        expected = agent.actor(agent.network(seen / 255.0))
    assert torch.allclose(answer.distribution.answer, expected, atol=1e-5)


def test_deviations_of_continuous_actions(tmp_path: Path) -> None:
    agent = Gauss()
    names = {
        "actor_mean.4": "actor_head",
        "actor_mean": "actor",
        "critic.4": "critic_head",
        "actor_logstd": "log_scale",
    }
    actions = ActionSpec("continuous", (3,), (-1.0,) * 3, (1.0,) * 3)
    policy = start(saved(tmp_path / "agent.pt", agent), actions=actions, options={"names": names})
    assert policy.network.log_scale is not None
    assert torch.equal(policy.network.log_scale, agent.actor_logstd[0])


@pytest.mark.parametrize("function", ["make", "whole"])
def test_a_factory(function: str, tmp_path: Path) -> None:
    agent = Agent()
    (tmp_path / "own.py").write_text(FACTORY)
    options = {"names": CLEAN, "factory": f"{tmp_path / 'own.py'}:{function}"}
    policy = start(saved(tmp_path / "agent.pt", agent), options=options)
    seen = torch.randn(20, 4)
    with torch.no_grad():
        assert torch.allclose(policy.network({"observation": seen}).distribution.answer, agent.actor(seen), atol=1e-6)


def test_tensors_that_stand_deeper(tmp_path: Path) -> None:
    weights = Agent().state_dict()
    for key, content in (
        (None, {"model_state_dict": weights, "step": 5}),
        ("mine", {"mine": weights, "optimizer": {"lr": 1}}),
    ):
        torch.save(content, tmp_path / "agent.pt")
        start(tmp_path / "agent.pt", options={"names": CLEAN} | ({"key": key} if key else {}))
    with pytest.raises(PretrainedModelError, match="no tensors by name") as caught:
        start(tmp_path / "agent.pt", options={"names": CLEAN})
    assert "mine" in str(caught.value)


def refused(said: str, path: Path, **options: Any) -> PretrainedModelError:
    with pytest.raises(PretrainedModelError, match=said) as caught:
        start(path, options=options)
    assert "remedy" in str(caught.value)
    return caught.value


def test_everything_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    weights = Agent().state_dict()
    weights["actor.2.weight"] = torch.zeros(32, 64)
    del weights["critic.0.bias"]
    weights["extra.weight"] = torch.zeros(3)
    torch.save(weights, tmp_path / "agent.pt")
    error = refused("differ in 3 tensors", tmp_path / "agent.pt", names=CLEAN)
    text = str(error)
    for said in (
        "critic.0.bias (64,) is missing",
        "(32, 64) in the file and (64, 64)",
        "extra.weight (3,) has no place",
    ):
        assert said in text


def test_parts_may_be_left_out_or_start_anew(tmp_path: Path) -> None:
    weights = {f"net.{name}": value for name, value in Agent().actor.state_dict().items()}
    torch.save({**weights, "world.0.weight": torch.zeros(3)}, tmp_path / "agent.pt")
    options = {"names": {"net.4": "actor_head", "net": "actor"}, "ignore": ["world"], "fresh": ["critic"]}
    policy = start(tmp_path / "agent.pt", options=options)
    assert torch.equal(policy.network.actor_head.weight, weights["net.4.weight"])
    first, second = (start(tmp_path / "agent.pt", options=options).network.critic_head.weight for _ in range(2))
    assert torch.equal(first, second)


def test_normalization_that_the_file_does_not_have(tmp_path: Path) -> None:
    path = saved(tmp_path / "agent.pt", Agent())
    with pytest.raises(PretrainedModelError, match="normalize: false"):
        start(path, options={"names": CLEAN}, normalize=True)


class Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_pickles_are_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "harmed"
    torch.save({"x": Harm(mark)}, tmp_path / "a.pt")
    assert "save_file" in str(refused("more than tensors", tmp_path / "a.pt"))
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Harm(mark)))
    assert "save_file" in str(refused("torch 1.6", tmp_path / "b.pt"))
    torch.save(Agent(), tmp_path / "c.pt")
    assert "Agent" in str(refused("more than tensors", tmp_path / "c.pt"))
    assert not mark.exists()


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = saved(tmp_path / "agent.pt", Agent())
    assert "did you mean" in str(refused("no such file", tmp_path / "agnt.pt"))
    (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:1000])
    refused("zip", tmp_path / "cut.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 20)
    refused("cannot read", tmp_path / "cut.safetensors")
    path.rename(tmp_path / "agent.onnx")
    refused("kind '.onnx'", tmp_path / "agent.onnx")
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    refused("no mapping", tmp_path / "list.pt")
    weights = Agent().state_dict()
    weights["actor.0.weight"][0, 0] = float("nan")
    safetensors.torch.save_file(weights, tmp_path / "nan.safetensors")
    refused("NaN", tmp_path / "nan.safetensors", names=CLEAN)


def test_options_that_cannot_be_used(tmp_path: Path) -> None:
    path = saved(tmp_path / "agent.pt", Agent())
    (tmp_path / "own.py").write_text(FACTORY)
    (tmp_path / "bad.py").write_text("import nothing_of_this_name")
    refused("3 options", path, names=["x"], ignore="x", key=3)
    refused("called acter", path, names={"acter": "actor"})
    refused("names no function", path, factory="own")
    refused("no file", path, factory="nowhere.py:make")
    assert "did you mean 'make'" in str(refused("no function 'mak'", path, factory=f"{tmp_path / 'own.py'}:mak"))
    refused("importing .* failed", path, factory=f"{tmp_path / 'bad.py'}:make")
    assert "PolicyShape" in str(refused("gave int", path, factory=f"{tmp_path / 'own.py'}:other"))
    refused("not today", path, factory=f"{tmp_path / 'own.py'}:broken")
    with pytest.raises(PretrainedModelError, match="needs a game"):
        load_policy_source(f"checkpoint:{path}")
