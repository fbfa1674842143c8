import numpy as np
import pytest

from newgameplus.errors import GameError
from newgameplus.games.environments import make_environments
from newgameplus.games.toy_arena import ACTIONS, FEATURES, FIRST_ACTIONS
from newgameplus.recipe_agent import EnvironmentSettings


def episodes(name, choose, count=40, **options):
    """Play episodes with a function of the observation (by feature names, where there are some) and the copy's mask."""
    with make_environments(EnvironmentSettings(id=name, options=options, vectorize="sync"), count=8) as games:
        part = games.observations.parts[0]
        seen = games.reset(0)
        ends = []
        while len(ends) < count:
            rows = [dict(zip(part.features, row, strict=True)) if part.features else row for row in seen[part.name]]
            masks = games.masks()
            acted = [choose(row, None if masks is None else masks[n]) for n, row in enumerate(rows)]
            step = games.step(np.asarray(acted, games.actions.dtype))
            seen = step.observations
            ends += step.episodes
    return float(np.mean([end.total for end in ends])), float(np.mean([end.success for end in ends]))


def test_identity_pays_for_doing_what_is_shown():
    assert episodes("ngp/Identity-v0", lambda seen, mask: int(seen.argmax())) == (16.0, 1.0)
    assert episodes("ngp/Identity-v0", lambda seen, mask: seen.astype(int), actions="binary") == (16.0, 1.0)
    both = episodes("ngp/Identity-v0", lambda seen, mask: seen.reshape(2, 4).argmax(axis=1), actions="multi-discrete")
    assert both == (16.0, 1.0)
    total, success = episodes("ngp/Identity-v0", lambda seen, mask: seen, actions="continuous")
    assert total == pytest.approx(16.0, abs=1e-3)
    assert success == 1.0
    total, success = episodes("ngp/Identity-v0", lambda seen, mask: 0)
    assert total < 6.0
    assert success == 0.0


def test_memory_cannot_be_known_at_the_end():
    total, _ = episodes("ngp/Memory-v0", lambda seen, mask: 1, count=200)
    assert 0.35 < total < 0.65
    cues = {}

    with make_environments(EnvironmentSettings(id="ngp/Memory-v0"), count=4) as games:
        seen = games.reset(0)["observation"]
        for row in range(4):
            cues[row] = int(seen[row, :2].argmax())
        for _ in range(5):
            step = games.step(np.zeros(4, np.int64))
        assert (step.observations["observation"][:, 2] == 1.0).all()
        assert not step.observations["observation"][:, :2].any()
        step = games.step(np.array([cues[row] for row in range(4)]))
    assert step.terminated.all()
    assert (step.rewards == 1.0).all()


def test_delayed_pays_at_the_end():
    assert episodes("ngp/Delayed-v0", lambda seen, mask: int(seen["right sign"])) == (1.0, 1.0)


def test_masked_needs_its_masks():
    def right(seen, mask):
        return int(np.flatnonzero(mask)[int(seen["higher pays"])])

    assert episodes("ngp/Masked-v0", right) == (16.0, 1.0)
    total, _ = episodes("ngp/Masked-v0", lambda seen, mask: 5 if seen["higher pays"] else 0)
    assert total < 2.0


def test_the_apple_is_fetched_and_brought_home():
    total, success = episodes("ngp/AppleRetrieval-v0", lambda seen, mask: int(seen["apple"] < 0))
    assert (total, success) == (20.0, 1.0)
    total, success = episodes("ngp/AppleRetrieval-v0", lambda seen, mask: 0, start="apple")
    assert (total, success) == (10.0, 1.0)
    _, success = episodes("ngp/AppleRetrieval-v0", lambda seen, mask: 0, count=8)
    assert success == 0.0


class TestArena:
    @staticmethod
    def fight(names):
        def choose(seen, mask):
            if seen["enemy_raised"]:
                return names.index("guard")
            if seen["in_reach"]:
                return names.index("strike")
            ready = seen["mana"] >= 0.25 and seen["enemy_distance"] <= 0.75
            return names.index("cast" if ready else "wait")

        return choose

    def test_skill_wins_and_chance_loses(self):
        rng = np.random.default_rng(0)
        assert episodes("ngp/Arena-v0", self.fight(FIRST_ACTIONS))[1] > 0.95
        assert episodes("ngp/Arena-v0", lambda seen, mask: rng.integers(6), count=80)[1] < 0.1

    def test_a_patch_changes_spaces_and_not_the_fight(self):
        names = list(reversed(ACTIONS))
        patched = episodes("ngp/Arena-v0", self.fight(names), actions=names, features=list(reversed(FEATURES)))
        assert patched == episodes("ngp/Arena-v0", self.fight(FIRST_ACTIONS))

    def test_a_patch_can_change_the_rules(self):
        harder = episodes("ngp/Arena-v0", self.fight(FIRST_ACTIONS), rules={"enemy_hp": 400.0, "enemy_damage": 90.0})
        assert harder[1] < 0.9

    @pytest.mark.parametrize("options", [{"features": ["hp", "luck"]}, {"actions": ["wait", "wait"]}])
    def test_what_is_unknown_is_told(self, options):
        with pytest.raises(GameError, match="unknown or named twice"):
            make_environments(EnvironmentSettings(id="ngp/Arena-v0", options=options), count=1)
