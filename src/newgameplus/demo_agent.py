"""The demo's third chapter: a policy of other games learns a new one, and does not forget the old ones."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["GAME", "OLD_GAMES", "agent_recipe_text"]

GAME = "MiniGrid-Unlock-v0"
"""Find the key, and open the door: a game that the bundled policy was never trained on."""
OLD_GAMES = ("MiniGrid-DoorKey-6x6-v0", "MiniGrid-LavaCrossingS9N1-v0")
"""Two of those that it was trained on."""

_RECIPE = """\
# The demo: a policy that knows seven other games of MiniGrid learns to find a key and open a door with it.
scenario: agent
name: agent
seed: 0
runs: {runs}
environment:
  id: {game}
  parts: [direction, image]       # what the bundled policy sees
  others: [{others}]       # what it could do before: is it still there?
  count: 32
model:
  start: bundled:minigrid
train:
  steps: 60000
  learning_rate: 0.001
  entropy: 0.005
retention:
  terms: auto             # hold on to what it does in the other games
evaluate:
  baselines: [start, scratch, plain]
  episodes: 64
"""


def agent_recipe_text(runs: Path) -> str:
    """Return the recipe of the chapter.

    Args:
        runs: Folder of the run folders.
    """
    return _RECIPE.format(runs=json.dumps(str(runs)), game=GAME, others=", ".join(OLD_GAMES))
