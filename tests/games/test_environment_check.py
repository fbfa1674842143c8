import numpy as np
import pytest

from newgameplus.errors import GameError
from newgameplus.games.environment_check import check_environment, random_actions
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import ActionSpec

OWN = __file__.replace("test_environment_check.py", "bad_environments.py")


def check(name, **more):
    return check_environment(EnvironmentSettings(id=name, **more), steps=120)


@pytest.mark.parametrize("name", ["CartPole-v1", "ngp/Masked-v0", "ngp/Arena-v0", "MiniGrid-Empty-5x5-v0"])
def test_a_good_game_has_no_problems(name):
    report = check(name)
    assert report.problems == ()
    assert report.steps_per_second > 0


@pytest.mark.parametrize(
    "name", ["Shape", "Kind", "NanSeen", "NanReward", "Raises", "OldStep", "OldReset", "WrongMask"]
)
def test_a_bad_game_has_a_problem_with_a_remedy(name):
    report = check(f"{OWN}:{name}")
    assert report.problems
    assert all(problem.remedy and "copy 0" in problem.source for problem in report.problems)


def test_ignored_seeds_are_noted():
    report = check(f"{OWN}:IgnoresSeeds")
    assert report.problems == ()
    assert any("ignores seeds" in note for note in report.notes)
    assert not any("seeds" in note for note in check(f"{OWN}:Game").notes)


def test_large_rewards_are_noted():
    report = check(f"{OWN}:LargeReward")
    assert report.problems == ()
    assert any("1e+09" in note for note in report.notes)


def test_a_success_that_is_never_told_is_noted():
    assert any("info has no 'vctory'" in note for note in check(f"{OWN}:Won", success="vctory").notes)
    assert not any("info has no" in note for note in check(f"{OWN}:Won", success="won").notes)


def test_a_game_that_cannot_be_made_raises():
    with pytest.raises(GameError, match="no game"):
        check("Nothing-v0")


@pytest.mark.parametrize(
    "spec",
    [
        ActionSpec("discrete", (3,)),
        ActionSpec("multi-discrete", (2, 3)),
        ActionSpec("binary", (4,)),
        ActionSpec("continuous", (2,), (-1.0, -np.inf), (1.0, np.inf)),
    ],
)
def test_random_actions_are_inside_of_the_space(spec):
    actions = random_actions(spec, 200, np.random.default_rng(0))
    assert actions.shape == (200, *spec.shape)
    assert actions.dtype == spec.dtype
    assert np.isfinite(actions).all()
    if spec.kind == "multi-discrete":
        assert {tuple(row) for row in actions.tolist()} == {(a, b) for a in range(2) for b in range(3)}


def test_random_actions_respect_masks():
    masks = np.array([[False, True, True], [True, False, False]] * 50)
    actions = random_actions(ActionSpec("discrete", (3,)), 100, np.random.default_rng(0), masks)
    assert masks[np.arange(100), actions].all()
    assert set(actions[::2]) == {1, 2}
