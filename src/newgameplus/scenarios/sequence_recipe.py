"""A commented recipe for the user's own sequences, and a look at all of them before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from newgameplus.errors import DataError, NewGamePlusError, Problem
from newgameplus.games.sequences import data_kinds, find_sequences, load_sequences
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.catalog import describe_pretrained
from newgameplus.recipe import Recipe
from newgameplus.recipe_start import AUTO, Start
from newgameplus.scenarios.behavior_check import check_models
from newgameplus.scenarios.recipe_text import one_line, plain_name, quoted
from newgameplus.scenarios.sequence_data import SequenceGame, load_sequence_game, pretrained_for

__all__ = ["check_sequences", "init_sequences", "reads_numbers"]

_MOST_STEPS = 128
_TOLD_CHANNELS = 12


def init_sequences(path: str | Path, *, name: str = "", skip_bad: bool = False) -> str:
    """Return a commented recipe for labelled sequences.

    Args:
        path: Label file, or folder of labelled sequences.
        name: Name of the run folder; by default the folder's name.
        skip_bad: Leave out sequences that cannot be used; the recipe then does so too.

    Raises:
        DataError: There are no labelled sequences, or one class only.
    """
    sequences = load_sequences(find_sequences(path, skip_bad=skip_bad), skip_bad=skip_bad)
    clips = sequences.clip_set.clips
    counts = Counter(str(clip.label) for clip in clips)
    if len(counts) < 2:
        remedy = "label sequences of at least one other class; a model cannot learn what it is never shown to differ"
        raise DataError(f"only one class: {', '.join(counts)}", source=str(path), remedy=remedy)
    rarest, most = min(counts.values()), max(counts.values())
    lengths = sorted(len(values) for values in sequences.values)
    usual = lengths[len(lengths) // 2]
    told = ", ".join(sequences.channels[:_TOLD_CHANNELS]) + (" ..." if len(sequences.channels) > _TOLD_CHANNELS else "")
    found = "".join(f"#   {one_line(label)}: {count}\n" for label, count in counts.most_common())
    name = name or Path(path).resolve().stem.replace(" ", "-") or "run"
    return _TEMPLATE.format(
        sequences=len(clips), classes=len(counts), groups=len({clip.group for clip in clips}), found=found,
        channels=one_line(told), count=len(sequences.channels), shortest=lengths[0], usual=usual, longest=lengths[-1],
        name=plain_name(name), path=quoted(str(path)), skip_bad="true" if skip_bad else "false",
        steps=min(_MOST_STEPS, max(8, 4 * -(-usual // 4))), weights="balanced" if most > 4 * rarest else "none",
        why_weights=f"the rarest class has {rarest} sequences, the most frequent {most}",
    )  # fmt: skip


_TEMPLATE = """\
# A recipe of New Game+: what to fine-tune, on what, and what it must beat.
# Found: {sequences} labelled sequences of numbers, {classes} classes, {groups} groups.
# {count} channels: {channels}
# {shortest} to {longest} steps, usually {usual}.
# A group (episode, player, match) never straddles a split: name them in a column `group` of labels.csv.
{found}# Next: ngp check this-file.yaml, then ngp fit this-file.yaml

scenario: behavior
name: {name}              # the run folder is runs/<date>-{name}
seed: 0

data:
  path: {path}
  # channels: [POSITION_*, ANGLE]   # use only these
  test: 0.3               # share kept for the final evaluation, in whole groups
  validation: auto        # share that decides when to stop; auto is 0.15, or 0 with fewer than 500 labelled sequences
  # test_groups: [match-7]          # or name the groups to test on
  skip_bad: {skip_bad}         # true leaves out sequences that cannot be read, and says which

model:
  start: sequence:gru     # random weights; or a text network: transformers:NAME-OR-FOLDER (BERT, GPT-2 ...), or several
  options:
    steps: {steps}             # longer sequences are resampled to so many steps, shorter ones padded

adapt:
  strategy: full          # with pretrained weights: lp-ft, or lora

train:
  epochs: auto            # or a number
  batch_size: 32
  learning_rate: 0.001    # with pretrained weights: 0.0005
  class_weights: {weights}     # {why_weights}
  augment: true           # time warp and crop, scale, noise

evaluate:
  baselines: [majority, random-forest, probe]   # with pretrained weights add: scratch
"""


def reads_numbers(recipe: Recipe) -> bool:
    """Whether a recipe is about sequences: its data are, or may be and the first model named reads such."""
    kinds = data_kinds(recipe.data.path, recipe.data.labels)
    if len(kinds) == 1:
        return "sequence" in kinds
    first = recipe.model.starts[0]
    try:
        return first.name != AUTO and describe_pretrained(first.name, first.options).modality == "sequence"
    except NewGamePlusError:  # told by the check of clips
        return False


def check_sequences(recipe: Recipe) -> tuple[list[Problem], dict[str, Any]]:
    """Look for everything that would stop a fit to sequences, and estimate what it will cost. Nothing is trained.

    Returns:
        All problems found, and a plan: classes, split, channels, steps, and estimated seconds and bytes.
    """
    problems: list[Problem] = []
    plan: dict[str, Any] = {}
    game: SequenceGame | None = None
    try:
        game = load_sequence_game(recipe.data, recipe.seed)
        clips = game.clip_set.clips
        plan["left_out"] = [
            {"message": p.message, "source": p.source, "remedy": p.remedy} for p in game.clip_set.left_out
        ]
        plan["classes"] = dict(sorted(Counter(str(clip.label) for clip in clips).items()))
        plan["groups"] = len({clip.group for clip in clips})
        plan["split"] = {part: len(indices) for part, indices in game.split.parts().items()}
        plan["channels"] = list(game.channels)
    except NewGamePlusError as error:
        problems += error.problems
    load = _loader(game) if game is not None else None
    found, told = check_models(recipe, load, game.labels if game is not None else (), plan.get("split"))
    return [*problems, *found], plan | told


def _loader(game: SequenceGame) -> Callable[[Start], PretrainedModel]:
    return lambda start: pretrained_for(game, start.name, options=start.options)
