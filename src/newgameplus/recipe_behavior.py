"""The recipe of the behavior scenario: which clips, which model, how it learns and what it must beat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from newgameplus.recipe_pretrain import PretrainSettings
from newgameplus.recipe_schema import (
    Count,
    EvaluateLevel,
    Names,
    PathMark,
    Positive,
    Rate,
    Resamples,
    RunName,
    Seed,
    Share,
    StepSettings,
    Strict,
)
from newgameplus.recipe_start import CandidateSettings, OneName, StartSettings

__all__ = [
    "AdaptSettings",
    "BehaviorCandidate",
    "DataSettings",
    "EvaluateSettings",
    "ModelSettings",
    "Recipe",
    "TrainSettings",
]

_IS_MODEL = PathMark(or_name=True, prefixes=("run", "checkpoint", "keras", "transformers"))
_MAY_BE_CODE = PathMark(or_name=True, suffixes=(".py",))
_Options = dict[str, str | int | float | bool]


class DataSettings(Strict):
    """Which clips, and how they are split. A share counts groups, which never straddle a split."""

    path: Annotated[str, PathMark()]
    """Folder of labelled clips, folder per class, or a label file (CSV or JSON lines). Numbers over time likewise: CSV,
    npy, npz, or the trajectories recorded beside videos; ``model.start`` says which of the two a recording is for."""
    channels: Names = ()
    """Sequences only: channels to use, with ``*`` for any text (``POSITION_*``); all by default."""
    labels: str | None = None
    """Label file inside the folder, when it is not labels.csv or labels.jsonl."""
    test: Share = 0.3
    """Share of the clips, in whole groups, kept for the final evaluation only."""
    validation: Share | Literal["auto"] = "auto"
    """Share of the clips, in whole groups, that decides when to stop; 0 trains on everything that is not test;
    ``auto`` is 0.15, or 0 with fewer than 500 labelled clips, of which none is to spare."""
    test_path: Annotated[str | None, PathMark()] = None
    """Other labelled clips to test on, instead of a share of ``path``."""
    test_groups: Names = ()
    """Groups to test on, instead of a share."""
    validation_groups: Names = ()
    """Groups to validate on, instead of a share."""
    max_labels: Annotated[int, Field(ge=2)] | None = None
    """Use at most this many labelled clips for training and validation together (to see what fewer labels give)."""
    frame_rate: Positive = 30.0
    """Frames per second of folders of frames, and rows per second of sequences; videos and recorded trajectories bring
    their own."""
    skip_bad: bool = False
    """Leave out clips that cannot be read, and say which, instead of stopping."""
    duplicates: Literal["error", "drop"] = "error"
    """Clips with the same frames on both sides of a split: stop, or drop them from test and validation."""


class BehaviorCandidate(CandidateSettings):
    """One model to choose from, with options of its own."""

    start: Annotated[OneName, _IS_MODEL]
    """Its name, as ``model.start`` takes it."""
    options: Annotated[_Options, _MAY_BE_CODE] = Field(default_factory=dict)  # type: ignore[assignment]
    """Options of its source, in place of ``model.options``."""


class ModelSettings(StartSettings):
    """Where to start from."""

    start: Annotated[str | Annotated[tuple[str | BehaviorCandidate, ...], Field(min_length=1)], _IS_MODEL] = (
        "bundled:doom-clips"
    )
    """A pretrained model, or several to choose from by measurement: ``bundled:NAME``, ``transformers:NAME-OR-FOLDER``,
    ``keras:NAME-OR-FILE``, ``torchvision:NAME``, ``timm:NAME``, ``checkpoint:FILE`` (with the option ``factory``), or
    ``run:FOLDER``, an earlier run or what ``ngp pretrain`` wrote; ``auto`` chooses among all that this machine has. In
    a list, ``{start: NAME, options: {...}}`` is a model with options of its own."""
    options: Annotated[_Options, _MAY_BE_CODE] = Field(default_factory=dict)
    """Options of the source, such as ``frames`` or ``pooling``; all plain names of a list have them."""
    use: Literal["any", "research", "commercial"] = "any"
    """What the fine-tuned model is for; models whose licence forbids it are refused."""


class AdaptSettings(Strict):
    """How the model meets the new task."""

    strategy: str = "lp-ft"
    """How weights may move: ``probe``, ``lp-ft``, ``full``, ``gradual``, ``lora``, ``l2-sp``, ``surgical-first``,
    ``surgical-middle``, ``surgical-last``."""
    head: Literal["auto", "fresh"] = "auto"
    """``auto`` carries over the rows of class names that the model knows, if they do well on the training clips;
    ``fresh`` starts the head anew."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    """Learning rate of each block as a share of the next block's, counted from the output."""
    lora_rank: Annotated[int, Field(ge=1, le=1024, strict=True)] = 8
    """Rank of the updates of ``lora``."""
    l2_sp: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.1
    """How strongly ``l2-sp`` holds the backbone to its pretrained weights: the loss gets half of this times the squared
    distance."""
    after: Literal["none", "wise-ft", "soup"] = "none"
    """What becomes of the weights after training. ``wise-ft`` mixes them with those from after the head phase,
    ``soup`` averages those of several epochs (and of ``soup_seeds`` trainings); validation clips choose how."""
    soup_seeds: Annotated[int, Field(ge=1, le=100, strict=True)] = 1
    """Trainings with other seeds of data order that ``soup`` averages over; each costs as much as the first."""


class _ClipSteps(Strict):
    """What only clips ask of training; a class of its own so that these keys come before the shared ones."""

    epochs: Count | Literal["auto"] = "auto"
    """Passes over the training clips, all phases together; ``auto`` aims at ``steps``."""
    steps: Count = 300
    """Steps that ``epochs: auto`` aims at (between 4 and 80 epochs)."""
    batch_size: Count = 32
    """Clips per step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with momentum."""
    learning_rate: Rate | Literal["find"] = 0.0005
    """Peak rate of the last backbone block; ``find`` runs a learning-rate range test first."""
    head_learning_rate: Rate = 0.003
    """Peak rate of the head, up to 256 features; wider heads get proportionally less."""
    scratch_learning_rate: Rate = 0.001
    """Peak rate of the from-scratch baseline, which has no weights worth protecting."""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0, le=100.0)] = 0.01
    """Weight decay, on matrices only."""
    class_weights: Literal["none", "balanced"] = "none"
    """``balanced`` weighs rare classes up in the loss."""
    patience: Count | None = 15
    """Epochs without a better validation loss before a phase stops early and its best weights return; null never."""
    augment: bool | str | Names = True
    """``true`` varies brightness, contrast and position of training clips; ``games`` also what other games, maps and
    recordings bring: palette, HUD, resolution and frame rate; or a list of ``light``, ``palette``, ``hud``,
    ``resolution`` and ``frame-rate``; false varies nothing. Sequences have ``warp``, ``crop``,
    ``scale`` and ``noise``."""
    mirror: Literal["auto", "never"] = "auto"
    """``auto`` mirrors half of the training clips where class names come in pairs such as ``turn_left`` and
    ``turn_right``, and lets the label change sides; other clips are never mirrored."""


class TrainSettings(StepSettings, _ClipSteps):
    """How the weights move."""


class EvaluateSettings(Strict):
    """What fine-tuning must beat, and how sure we want to be."""

    baselines: Names = ("majority", "random-forest", "zero-shot", "probe", "scratch")
    """Baselines to run."""
    resamples: Resamples = 2000
    """Bootstrap resamples of the groups."""
    level: EvaluateLevel = 0.95
    """Confidence level of the intervals."""


class Recipe(Strict):
    """The whole recipe of a behavior run."""

    scenario: Literal["behavior"] = "behavior"
    """The job: behavior (name what a character is doing)."""
    name: RunName = "run"
    """Name of the run folder."""
    seed: Seed = 0
    """Seed of everything random."""
    runs: Annotated[str, PathMark()] = "runs"
    """Folder that holds the run folders."""
    data: DataSettings
    model: ModelSettings = Field(default_factory=ModelSettings)
    adapt: AdaptSettings = Field(default_factory=AdaptSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    pretrain: PretrainSettings = Field(default_factory=PretrainSettings)
