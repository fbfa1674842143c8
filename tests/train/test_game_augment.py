"""Augmentations for games: same shape and type, the same by the same seed, and what happens in the clip stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_backbone import ArrayClips, moving_bars

from newgameplus.errors import RecipeError
from newgameplus.finetune import read_recipe
from newgameplus.recipe import Recipe
from newgameplus.train.examples import ClipExamples
from newgameplus.train.game_augment import AUGMENTATIONS, augment_by_names, augmentation_names
from newgameplus.train.selfsupervision import Augmentation


def noise(clips: int, frames: int, height: int, width: int, channels: int) -> torch.Tensor:
    size = (clips, frames, height, width, channels)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(list(AUGMENTATIONS)),
    clips=st.integers(1, 5),
    frames=st.integers(1, 7),
    height=st.integers(1, 33),
    width=st.integers(1, 33),
    channels=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_shape_and_type_stay_and_the_same_seed_gives_the_same_clips(
    name: str, clips: int, frames: int, height: int, width: int, channels: int, seed: int
) -> None:
    before = noise(clips, frames, height, width, channels)
    untouched = before.clone()
    one, same = (augment_by_names(before, [name], np.random.default_rng(seed)) for _ in range(2))
    assert one.shape == before.shape
    assert one.dtype == torch.uint8
    assert torch.equal(one, same)
    assert torch.equal(before, untouched)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_changes_some_clips(name: str, channels: int) -> None:
    before = noise(40, 6, 24, 32, channels)
    after = augment_by_names(before, [name], np.random.default_rng(0))
    changed = (before != after).flatten(1).any(dim=1).float().mean()
    assert changed > 0.2
    if name != "light":
        assert changed < 0.8


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "frame-rate"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_stands_still_goes_on_standing_still(name: str, channels: int) -> None:
    still = noise(20, 1, 24, 32, channels).expand(-1, 4, -1, -1, -1).contiguous()
    after = augment_by_names(still, [name], np.random.default_rng(1))
    assert torch.equal(after, after[:, :1].expand_as(after))


def test_frames_keep_their_order_and_something_still_moves() -> None:
    for frames in range(1, 9):
        numbered = torch.arange(frames, dtype=torch.uint8).reshape(1, -1, 1, 1, 1).expand(60, -1, 2, 2, 1).contiguous()
        shown = augment_by_names(numbered, ["frame-rate"], np.random.default_rng(2))[:, :, 0, 0, 0].int()
        assert (shown.diff(dim=1) >= 0).all()
        assert frames < 2 or (shown[:, -1] > shown[:, 0]).all()


def test_a_palette_keeps_the_order_of_tones_of_grey_clips() -> None:
    tones = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16, 1).expand(30, -1, -1, -1, -1).contiguous()
    after = augment_by_names(tones, ["palette"], np.random.default_rng(3)).flatten(1).int()
    assert (after.diff(dim=1) >= 0).all()
    assert (after[:, -1] - after[:, 0] > 100).all()


def test_a_hud_mask_leaves_the_middle_and_at_least_half_of_the_picture() -> None:
    before = noise(60, 2, 40, 40, 1)
    after = augment_by_names(before, ["hud"], np.random.default_rng(4))
    assert torch.equal(after[:, :, 14:26, 14:26], before[:, :, 14:26, 14:26])
    assert ((before == after).flatten(1).float().mean(dim=1) > 0.5).all()


def test_examples_vary_by_name_and_keep_their_labels() -> None:
    clips, targets = moving_bars(30)
    assert isinstance(clips, ArrayClips)
    positions = np.arange(30)
    plain = ClipExamples(clips, positions, targets)
    varied = ClipExamples(clips, positions, targets, augment="games")
    one, labels = varied.batch(positions, np.random.default_rng(0))
    same, _ = varied.batch(positions, np.random.default_rng(0))
    assert torch.equal(labels, torch.from_numpy(targets))
    assert torch.equal(one, same)
    assert not torch.equal(one, plain.batch(positions, None)[0])
    assert torch.equal(varied.batch(positions, None)[0], plain.batch(positions, None)[0])


def test_pretraining_takes_them_too() -> None:
    clips = noise(8, 4, 24, 32, 1)

    def varied(names: tuple[str, ...], seed: int = 0) -> torch.Tensor:
        return Augmentation(torch.Generator().manual_seed(seed), games=names)(clips)

    assert torch.equal(varied(("palette", "hud")), varied(("palette", "hud")))
    assert not torch.equal(varied(("palette", "hud")), varied(()))
    assert varied(("resolution",)).dtype == torch.float32


def test_recipes_say_true_false_games_or_names() -> None:
    assert augmentation_names(True) == ("light",)
    assert augmentation_names(False) == ()
    assert augmentation_names("games") == tuple(AUGMENTATIONS)
    assert augmentation_names(("hud", "light")) == ("light", "hud")
    for value in (True, False, "games", ("palette", "hud")):
        recipe = Recipe.model_validate({"data": {"path": "x"}, "train": {"augment": value}})
        assert recipe.train.augment == value
    with pytest.raises(RecipeError, match="did you mean 'palette'"):
        augmentation_names("pallete")


@pytest.mark.parametrize(("text", "meant"), [("gmes", "games"), ("[light, frame_rate]", "frame-rate")])
def test_a_recipe_with_an_unknown_augmentation_names_the_nearest(tmp_path, text: str, meant: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"data: {{path: x}}\ntrain:\n  augment: {text}\n")
    with pytest.raises(RecipeError, match=f"did you mean '{meant}'") as caught:
        read_recipe(path)
    assert "recipe.yaml:3 (train.augment)" in str(caught.value)
