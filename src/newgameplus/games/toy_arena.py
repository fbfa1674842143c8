"""A small fight with named features and actions, which patches add to, put in another order, or take away.

The hero meets one enemy on a line. The enemy comes near, raises its weapon (which one sees), and strikes at the next
step. It pays to shoot from afar while there is mana, to guard when the weapon is raised, and to strike in between. The
full list of features and actions is larger than what the first version of the game shows and allows, so that a patch
can bring the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

__all__ = ["ACTIONS", "FEATURES", "FIRST_ACTIONS", "FIRST_FEATURES", "Arena"]

Vector = npt.NDArray[np.float32]
FEATURES = (
    "hp",
    "mana",
    "enemy_hp",
    "enemy_distance",
    "enemy_raised",
    "in_reach",
    "time",
    "potions",
    "stamina",
    "enemy_stunned",
    "last_damage",
)
"""All features there are; each in 0..1."""
ACTIONS = ("wait", "advance", "retreat", "strike", "cast", "guard", "drink", "kick", "dash")
"""All actions there are."""
FIRST_FEATURES = FEATURES[:7]
FIRST_ACTIONS = ACTIONS[:6]
RULES: Mapping[str, float] = {
    "enemy_hp": 130.0,
    "enemy_damage": 30.0,
    "strike_damage": 8.0,
    "cast_damage": 12.0,
    "cast_mana": 25.0,
    "mana_gain": 2.0,
    "strike_stamina": 0.0,
    "kick_stamina": 60.0,
}
"""Numbers of the rules, which a patch can change; ``strike_stamina`` and ``kick_stamina`` are costs, of 100."""
_FAR = 8
_CAST_REACH = 6
_LIMIT = 80


class Arena(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """The fight.

    Rewards are the damage done less half of the damage taken, in hundredths, and 1 for winning or -1 for losing.

    Args:
        features: What is shown, in which order; by default :data:`FIRST_FEATURES`.
        actions: What can be done, in which order; by default :data:`FIRST_ACTIONS`.
        rules: Numbers that differ from :data:`RULES`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012 - Gymnasium wants it so

    def __init__(
        self,
        features: Sequence[str] = FIRST_FEATURES,
        actions: Sequence[str] = FIRST_ACTIONS,
        rules: Mapping[str, float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        for given, known in ((features, FEATURES), (actions, ACTIONS), (rules or (), tuple(RULES))):
            unknown = [name for name in given if name not in known]
            if unknown or len(set(given)) != len(tuple(given)):
                raise ValueError(f"{unknown or list(given)} are unknown or named twice; known: {', '.join(known)}")
        self.render_mode = render_mode
        self.observation_names = list(features)
        self.action_names = list(actions)
        self.observation_space = spaces.Box(0.0, 1.0, (len(self.observation_names),), np.float32)
        self.action_space = spaces.Discrete(len(self.action_names))
        self._rules = {**RULES, **(rules or {})}
        self._places = [FEATURES.index(name) for name in self.observation_names]
        self._begin()

    def _begin(self) -> None:
        self._hp, self._mana, self._stamina, self._enemy = 100.0, 100.0, 100.0, self._rules["enemy_hp"]
        self._distance, self._potions, self._stunned, self._steps = _FAR, 2, 0, 0
        self._raised = False
        self._lost = 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Vector, dict[str, Any]]:  # noqa: ARG002
        """Begin a fight."""
        super().reset(seed=seed)
        self._begin()
        self._distance = int(self.np_random.integers(4, _FAR + 1))
        return self._look(), {}

    def step(self, action: int) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Act, and let the enemy act."""
        name = self.action_names[int(action)]
        damage = self._act(name)
        self._enemy = max(0.0, self._enemy - damage)
        self._lost = 0.0 if self._enemy <= 0 else self._strike_back(name == "guard")
        self._hp = max(0.0, self._hp - self._lost)
        self._mana = min(100.0, self._mana + self._rules["mana_gain"])
        self._stamina = min(100.0, self._stamina + 4.0)
        self._steps += 1
        won, lost = self._enemy <= 0, self._hp <= 0
        reward = damage / 100.0 - self._lost / 200.0 + float(won) - float(lost)
        late = self._steps >= _LIMIT and not (won or lost)
        return self._look(), reward, won or lost, late, {"is_success": won} if won or lost or late else {}

    def _act(self, name: str) -> float:
        """Do what the hero does; return the damage."""
        near = self._distance <= 1
        if name in ("advance", "retreat", "dash"):
            way = {"advance": -1, "retreat": 1, "dash": 3}[name]
            self._distance = int(np.clip(self._distance + way, 1, _FAR))
        elif name == "strike" and near and self._stamina >= self._rules["strike_stamina"]:
            self._stamina -= self._rules["strike_stamina"]
            return self._rules["strike_damage"] + float(self.np_random.integers(0, 4))
        elif name == "cast" and self._distance <= _CAST_REACH and self._mana >= self._rules["cast_mana"]:
            self._mana -= self._rules["cast_mana"]
            return self._rules["cast_damage"] + float(self.np_random.integers(0, 4))
        elif name == "drink" and self._potions:
            self._potions -= 1
            self._hp = min(100.0, self._hp + 40.0)
        elif name == "kick" and near and self._stamina >= self._rules["kick_stamina"]:
            self._stamina -= self._rules["kick_stamina"]
            self._raised = False
            self._stunned = 1
            self._distance = 2
            return 3.0
        return 0.0

    def _strike_back(self, guarded: bool) -> float:
        """Do what the enemy does; return the damage that the hero takes."""
        if self._stunned:
            self._stunned -= 1
            return 0.0
        if self._raised:
            self._raised = False
            if self._distance > 2:
                return 0.0
            hit = self._rules["enemy_damage"] + float(self.np_random.integers(0, 5))
            return hit * 0.15 if guarded else hit
        if self._distance > 1:
            self._distance -= int(self._distance > 1 and self.np_random.random() < 0.8)
            return 0.0
        self._raised = bool(self.np_random.random() < 0.5)
        return 0.0

    def _look(self) -> Vector:
        whole = (
            self._hp / 100.0,
            self._mana / 100.0,
            self._enemy / max(100.0, self._rules["enemy_hp"]),
            self._distance / _FAR,
            float(self._raised),
            float(self._distance <= 1),
            self._steps / _LIMIT,
            self._potions / 2.0,
            self._stamina / 100.0,
            self._stunned / 2.0,
            min(1.0, self._lost / 50.0),
        )
        return np.array([whole[place] for place in self._places], np.float32)

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture, uint8 [96, 192, 3]: hero and enemy on their line, and their bars above them."""
        picture = np.full((96, 192, 3), (24, 26, 34), np.uint8)
        picture[76:78] = (90, 92, 100)
        hero, enemy = 16, 16 + 18 * self._distance
        picture[52:76, hero : hero + 12] = (86, 160, 230)
        picture[46:76, enemy : enemy + 14] = (214, 92, 80)
        if self._raised:
            picture[30:46, enemy : enemy + 4] = (250, 220, 120)
        bars = (("hp", 10, 8, self._hp, (96, 200, 110)), ("mana", 10, 16, self._mana, (90, 120, 240)))
        for _, left, top, share, color in bars:
            picture[top : top + 5, left : left + int(0.7 * share)] = color
        share = 100.0 * self._enemy / self._rules["enemy_hp"]
        picture[8:13, 182 - int(0.7 * share) : 182] = (214, 92, 80)
        return picture
