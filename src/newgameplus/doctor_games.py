"""The checks of ``ngp doctor`` for games that are played: environments, recordings and the policies of the package."""

from __future__ import annotations

import importlib
import importlib.metadata
import tempfile
from pathlib import Path

from newgameplus.doctor import CHECKS, Check

__all__ = ["check_bundled_policies", "check_gymnasium", "check_minigrid", "check_recordings", "extra_version"]


def extra_version(package: str) -> str | None:
    """Return the version of an optional package, or None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_bundled_policies(name: str) -> Check:
    """The policies that come with the package load; loading compares their digests with those on their cards."""
    from newgameplus.pretrained.policy_bundled import list_policies
    from newgameplus.pretrained.policy_sources import load_policy_source

    cards = list_policies()
    for card in cards:
        load_policy_source(card["name"])
    if not cards:
        return Check(name, "broken", "there are none", CHECKS[name].remedy)
    return Check(name, "ok", ", ".join(f"{card['name']} ({card['parameters']:,} weights)" for card in cards))


def check_gymnasium(name: str) -> Check:
    """Gymnasium plays an environment (only an extra: the agent scenario, and rules ``gymnasium:ID``, need it)."""
    version = extra_version("gymnasium")
    if version is None:
        found = "not installed: no policy can play (agent), and no environment be the rules of scenes"
        return Check(name, "warning", found, CHECKS[name].remedy)
    gymnasium = importlib.import_module("gymnasium")
    environment = gymnasium.make("CartPole-v1")
    environment.reset(seed=1)
    environment.step(environment.action_space.sample())
    environment.close()
    return Check(name, "ok", f"{version}, plays CartPole-v1")


def check_minigrid(name: str) -> Check:
    """MiniGrid plays a game through our own environments (only an extra: the demo's last chapter needs it)."""
    version = extra_version("minigrid")
    if version is None:
        found = "not installed: games of MiniGrid and BabyAI cannot be played, nor the demo's last chapter"
        return Check(name, "warning", found, CHECKS[name].remedy)
    from newgameplus.games.environments import make_environments
    from newgameplus.recipe_agent import EnvironmentSettings

    with make_environments(EnvironmentSettings(id="MiniGrid-Empty-5x5-v0"), count=2) as environments:
        environments.reset(0)
        environments.step(environments.actions.empty(2))
    return Check(name, "ok", f"{version}, plays MiniGrid-Empty-5x5-v0")


def check_recordings(name: str) -> Check:
    """HDF5 is written and read back (only an extra: recordings of episodes, and Minari's data sets, need it)."""
    version = extra_version("h5py")
    if version is None:
        found = "h5py is not installed: episodes can neither be recorded nor read from Minari's data sets"
        return Check(name, "warning", found, CHECKS[name].remedy)
    h5py = importlib.import_module("h5py")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "check.hdf5"
        with h5py.File(path, "w") as file:
            file["numbers"] = list(range(8))
        with h5py.File(path, "r") as file:
            read = [int(number) for number in file["numbers"]]
    if read != list(range(8)):
        return Check(name, "warning", f"h5py {version}: what is read is not what was written", CHECKS[name].remedy)
    return Check(name, "ok", f"h5py {version}")
