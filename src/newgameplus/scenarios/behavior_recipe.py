"""A commented recipe for the user's own clips, and what fitting it will cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from newgameplus import progress
from newgameplus.errors import DataError, NewGamePlusError, Problem
from newgameplus.games.clips import ClipSet, load_clips
from newgameplus.games.sequences import data_kinds
from newgameplus.games.video import probe_video
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.recipe import Recipe
from newgameplus.recipe_start import Start
from newgameplus.scenarios.behavior_check import check_models
from newgameplus.scenarios.behavior_data import load_behavior_clips, split_clips
from newgameplus.scenarios.recipe_text import one_line, plain_name, quoted
from newgameplus.scenarios.sequence_recipe import check_sequences, init_sequences, reads_numbers

__all__ = ["check_behavior", "init_behavior"]


def init_behavior(clips: str | Path, *, name: str = "", skip_bad: bool = False) -> str:
    """Return a commented recipe for labelled clips.

    Args:
        clips: Folder of labelled clips, folder per class, or a label file.
        name: Name of the run folder; by default the folder's name.
        skip_bad: Leave out lines of a label file that cannot be used; the recipe then does so too.

    Raises:
        DataError: There are no labelled clips.
    """
    if "clip" not in data_kinds(clips):
        return init_sequences(clips, name=name, skip_bad=skip_bad)
    clip_set = load_clips(clips, require_labels=True, skip_bad=skip_bad)
    counts = Counter(clip.label for clip in clip_set.clips)
    groups = {clip.group for clip in clip_set.clips}
    if len(counts) < 2:
        raise DataError(
            f"only one class: {', '.join(map(str, counts))}",
            source=str(clips),
            remedy="label clips of at least one other class; a model cannot learn what it is never shown to differ",
        )
    rarest, most = min(counts.values()), max(counts.values())
    weights = "balanced" if most > 4 * rarest else "none"
    found = "".join(
        f"#   {one_line(str(label))}: {count}\n" for label, count in sorted(counts.items(), key=lambda item: -item[1])
    )
    name = name or Path(clips).resolve().stem.replace(" ", "-") or "run"
    return _TEMPLATE.format(
        clips=len(clip_set.clips), classes=len(counts), groups=len(groups), found=found, name=plain_name(name),
        path=quoted(str(clips)), weights=weights, skip_bad="true" if skip_bad else "false",
        why_weights=f"the rarest class has {rarest} clips, the most frequent {most}",
    )  # fmt: skip


_TEMPLATE = """\
# A recipe of New Game+: what to fine-tune, on what, and what it must beat.
# Found: {clips} labelled clips, {classes} classes, {groups} groups.
# A group (episode, player, map) never straddles a split.
{found}# Next: ngp check this-file.yaml, then ngp fit this-file.yaml

scenario: behavior
name: {name}              # the run folder is runs/<date>-{name}
seed: 0

data:
  path: {path}
  test: 0.3               # share kept for the final evaluation, in whole groups
  validation: auto        # share that decides when to stop; auto is 0.15, or 0 with fewer than 500 labelled clips
  # test_groups: [episode-007]      # or name the groups to test on
  # test_path: other-clips/         # or test on other clips
  # max_labels: 200                 # use only so many labelled clips (to see what more labels would bring)
  skip_bad: {skip_bad}         # true leaves out clips that cannot be read, and says which

model:
  start: bundled:doom-clips         # or transformers:NAME-OR-FOLDER, or a list of both to choose from, or auto
  use: any                # research or commercial refuses models whose licence forbids it

adapt:
  strategy: lp-ft         # probe (head only) | lp-ft (head first, then all) | full | gradual | lora | l2-sp
                          # | surgical-first | surgical-middle | surgical-last (head and one block)
  head: auto              # auto keeps the rows of class names that the model knows, if they do well; fresh starts anew
  after: none             # wise-ft (mix with the weights after the head phase) | soup (average over epochs and seeds)

train:
  epochs: auto            # or a number
  batch_size: 32
  learning_rate: 0.0005   # or: find
  class_weights: {weights}     # {why_weights}
  augment: true           # light, contrast, position | games: palette, HUD, resolution, frame rate too

evaluate:
  baselines: [majority, random-forest, zero-shot, probe, scratch]
"""


def check_behavior(recipe: Recipe) -> tuple[list[Problem], dict[str, Any]]:
    """Look for everything that would stop a fit, and estimate what it will cost. Nothing is trained or decoded whole.

    Returns:
        All problems found, and a plan: classes, split, steps, and estimated seconds and bytes.
    """
    if reads_numbers(recipe):
        return check_sequences(recipe)
    problems: list[Problem] = []
    plan: dict[str, Any] = {}
    clip_set: ClipSet | None = None
    try:
        clip_set, test_groups = load_behavior_clips(recipe.data)
        clip_set, unusable = _look_at_videos(clip_set)
        problems += [] if recipe.data.skip_bad else unusable
        left_out = [*clip_set.left_out, *(unusable if recipe.data.skip_bad else [])]
        plan["left_out"] = [{"message": p.message, "source": p.source, "remedy": p.remedy} for p in left_out]
        if clip_set.clips:
            split = split_clips(clip_set, test_groups, recipe.data, recipe.seed)
            plan["classes"] = dict(sorted(Counter(str(clip.label) for clip in clip_set.clips).items()))
            plan["groups"] = len({clip.group for clip in clip_set.clips})
            plan["split"] = {part: len(indices) for part, indices in split.parts().items()}
        elif not problems:
            problems.append(Problem("no clip can be read", recipe.data.path, str(unusable[0])))
    except NewGamePlusError as error:
        problems += error.problems
    labels = clip_set.labels if clip_set is not None else ()

    def load(start: Start) -> PretrainedModel:
        return load_pretrained(start.name, options=start.options)

    found, told = check_models(recipe, load, labels, plan.get("split"))
    return [*problems, *found], plan | told


def _look_at_videos(clip_set: ClipSet) -> tuple[ClipSet, list[Problem]]:
    """Probe every video once; return the clips that seem whole, and what is wrong with the others."""
    problems: list[Problem] = []
    ends: dict[tuple[Path, float], float] = {}
    videos = sorted({(clip.path, clip.frame_rate) for clip in clip_set.clips})
    with progress.task("looking at videos", total=len(videos), unit="videos") as task:
        for path, frame_rate in videos:
            try:
                ends[path, frame_rate] = probe_video(path, frame_rate).duration
            except NewGamePlusError as error:
                problems += error.problems
            task.advance()
    whole = []
    for clip in clip_set.clips:
        end = ends.get((clip.path, clip.frame_rate))
        if end is not None and clip.start >= end:
            message = f"{clip.identity}: no frames in the span, the video ends at {end:.3f} s"
            remedy = "correct the span, or leave such clips out with --skip-bad"
            problems.append(Problem(message, clip.origin or str(clip.path), remedy))
        elif end is not None:
            whole.append(clip)
    return replace(clip_set, clips=tuple(whole)), problems
