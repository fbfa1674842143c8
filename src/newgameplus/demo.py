"""All three jobs in one command, on games that the pretrained models have never seen.

First, naming what a character does: record a real game, fine-tune on 200 labelled clips, judge the result. Then, making
levels: fine-tune on two dozen maps of a designer, judge the result, and deliver new maps with what was asked for. Last,
playing: a policy of other games learns a new one, and is held to what it knew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newgameplus import progress
from newgameplus.demo_agent import GAME, agent_recipe_text
from newgameplus.demo_scenes import MAPS, deliver_levels, scene_recipe_text, write_maps, yaml_path
from newgameplus.finetune import fit, resume
from newgameplus.recipe import parse_recipe
from newgameplus.run import Run

__all__ = ["MAP", "Demo", "demo"]

MAP = "freedoom2:MAP02"
"""A map on which the bundled model was never trained; it has never seen any game from behind the player either."""

_EPISODES = 28
_MOST = 1000
_RECIPE = """\
# The demo: name what a character seen from behind does. The pretrained model saw other maps, and only through the
# player's eyes.
scenario: behavior
name: demo
seed: 0
runs: {runs}
data:
  path: {clips}
  test: 0.5
  max_labels: 200         # all that a person would have to label
model:
  start: bundled:doom-clips
adapt:
  strategy: lp-ft
"""


@dataclass(frozen=True, eq=False)
class Demo:
    """What a demo leaves.

    Attributes:
        behavior: The finished run that names what a character does.
        scenes: The finished run that makes levels.
        levels: The levels it delivered, as their ``levels.json`` holds them; None if none could be.
        agent: The finished run that plays.
    """

    behavior: Run
    scenes: Run
    levels: Mapping[str, Any] | None
    agent: Run


def demo(out: str | Path = "demo") -> Demo:
    """Play all chapters; a chapter that is finished is not played again until the others are too.

    Run it again after an interruption and it goes on; run it again after its end and it starts new runs beside the
    first, on the same recording and the same maps.

    Args:
        out: Folder for the recording, the maps and the runs.

    Returns:
        The finished runs and the delivered levels.
    """
    folder = Path(out)
    behavior, scenes, agent = _next_folders(folder / "runs")
    named = _chapter(behavior, lambda: _behavior_recipe(folder))
    made = _chapter(scenes, lambda: _scenes_recipe(folder))
    levels = deliver_levels(made)
    return Demo(named, made, levels, _chapter(agent, lambda: _agent_recipe(folder)))


def _next_folders(runs: Path) -> tuple[Path, Path, Path]:
    """Return the run folders of the first demo that is not finished; what is no run of ours is passed over."""
    for number in range(1, _MOST):
        folders = runs / f"demo-{number}", runs / f"scenes-{number}", runs / f"agent-{number}"
        foreign = any(folder.exists() and not (folder / "recipe.yaml").is_file() for folder in folders)
        if not foreign and not (all(map(_finished, folders)) and _delivered(folders[1])):
            return folders
    return runs / f"demo-{_MOST}", runs / f"scenes-{_MOST}", runs / f"agent-{_MOST}"


def _finished(folder: Path) -> bool:
    return folder.is_dir() and Run.open(folder).finished


def _delivered(folder: Path) -> bool:
    return any((folder / "levels").glob("*/levels.json"))


def _chapter(folder: Path, recipe: Callable[[], str]) -> Run:
    """Play one chapter, go on with it, or return it if it is over."""
    if not folder.exists():
        return fit(parse_recipe(recipe(), source="the demo's recipe"), out=folder)
    run = Run.open(folder)
    if run.finished:
        progress.say(f"{folder} is finished")
        return run
    progress.say("going on with the interrupted demo")
    return resume(folder)


def _behavior_recipe(folder: Path) -> str:
    from newgameplus.games.record.doom import record_doom

    clips = folder / "clips"
    progress.say(f"recording {MAP} from behind the player: {_EPISODES} episodes, labelled by the engine itself")
    record_doom(MAP, _EPISODES, clips, seed=2024, view="behind", resume=True)
    return _RECIPE.format(runs=yaml_path(folder / "runs"), clips=yaml_path(clips))


def _scenes_recipe(folder: Path) -> str:
    maps = folder / "maps"
    progress.say(f"drawing {MAPS} maps of one designer")
    write_maps(maps)
    return scene_recipe_text(maps, folder / "runs")


def _agent_recipe(folder: Path) -> str:
    progress.say(f"a policy that knows seven games of MiniGrid learns another: {GAME}")
    return agent_recipe_text(folder / "runs")
