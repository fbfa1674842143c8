"""The recipe of the scene scenario: which maps, what their tiles mean, how levels are learnt, made and judged."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from newgameplus.recipe_behavior import BehaviorCandidate, ModelSettings
from newgameplus.recipe_pretrain import ScenePretrainSettings
from newgameplus.recipe_schema import (
    Count,
    EvaluateLevel,
    Names,
    PathMark,
    Rate,
    Resamples,
    RunName,
    Seed,
    Share,
    StepSettings,
    Strict,
)
from newgameplus.recipe_start import OneName

__all__ = [
    "ControlSettings",
    "GenerateSettings",
    "SceneAdaptSettings",
    "SceneCandidate",
    "SceneDataSettings",
    "SceneEvaluateSettings",
    "SceneModelSettings",
    "SceneRecipe",
    "SceneTrainSettings",
    "parse_size",
]

_LONGEST_SIDE = 10_000
_MOST_TILES = 1_000_000
_RULES_FILES = (".yaml", ".yml")
_TEXT_ENCODER = "text_encoder"
_IS_MODEL = PathMark(or_name=True, prefixes=("run", "transformers"))
_Options = dict[str, str | int | float | bool]


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as ``14x150``: rows and columns of tiles.

    Raises:
        ValueError: It is no such size, or out of all measure.
    """
    sides = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.strip().lower())
    if sides is None:
        raise ValueError(f"a size is HEIGHTxWIDTH in tiles, such as 14x150, not {text[:40]!r}")
    height, width = int(sides[1]), int(sides[2])
    if not (1 <= height <= _LONGEST_SIDE and 1 <= width <= _LONGEST_SIDE and height * width <= _MOST_TILES):
        raise ValueError(
            f"{height}x{width} tiles cannot be made: 1 to {_LONGEST_SIDE:,} a side, at most {_MOST_TILES:,} in all"
        )
    return height, width


def _plain_size(text: str) -> str:
    height, width = parse_size(text)
    return f"{height}x{width}"


def _without_repeats(names: Names) -> Names:
    return tuple(dict.fromkeys(names))


def _without_encoder(options: _Options) -> _Options:
    if _TEXT_ENCODER in options:
        raise ValueError(f"{_TEXT_ENCODER} is no option of a source: write it under model.options")
    return options


def _one_or_several(value: object) -> object:
    """Let a tile with one meaning be written without brackets."""
    return (value,) if isinstance(value, str) else value


Meanings = Annotated[tuple[str, ...], BeforeValidator(_one_or_several), AfterValidator(_without_repeats)]


class SceneDataSettings(Strict):
    """Which maps, what they hold, and what can be played."""

    path: Annotated[str, PathMark()]
    """A map, or a folder of maps."""
    format: str | None = None
    """Format of the maps, when it cannot be told from the files."""
    legend: Annotated[str | None, PathMark()] = None
    """JSON file that says what each character of a text map stands for."""
    layers: Annotated[Names, Field(min_length=1), AfterValidator(_without_repeats)] | None = None
    """Layers to learn and make, by name; null takes the layers of tiles that all maps have, and those of objects that
    stand on the grid. Other layers are kept as they are."""
    scan: Literal["columns", "rows"] = "columns"
    """How levels grow: column by column, to the right, or row by row, downwards."""
    tiles: dict[str, Meanings] = Field(default_factory=dict)
    """What each tile means to a player, by tile name (``@kind`` for objects, ``nothing`` for bare cells); what is not
    named keeps what the files say."""
    rules: Annotated[str, PathMark(or_name=True, suffixes=_RULES_FILES)] = "reachability"
    """What says that a level can be played: ready-made rules by name, a rules file (YAML), ``file.py:function``,
    ``module:function``, or ``gymnasium:ID``."""
    rules_options: Annotated[dict[str, JsonValue], PathMark(or_name=True)] = Field(default_factory=dict)
    """Options of the rules, such as the jumps of a platformer."""
    test: Share = 0.2
    """Share of the maps kept for the final evaluation only."""
    validation: Share | Literal["auto"] = "auto"
    """Share of the maps that decides when to stop; 0 trains on everything that is not test; ``auto`` is 0.1, or 0
    with fewer than 20 maps, of which none is to spare."""
    test_path: Annotated[str | None, PathMark()] = None
    """Other maps to test on, instead of a share of ``path``."""
    max_levels: Count | None = None
    """Use at most this many maps for training and validation together (to see what fewer maps give)."""
    draw_way: Literal["never", "auto"] = "auto"
    """``auto`` lets models of platformers and of Sokoban learn the maps with the solver's way drawn in (of Sokoban, the
    trails of the boxes), so that what they make has a way through too; maps that the solver did not finish are then not
    learned from, and the way is taken off again before anyone sees a level."""
    unplayable: Literal["learn", "leave-out"] = "leave-out"
    """What becomes of maps that the rules say cannot be played: not learned from, or learned like the others. They
    are learned all the same when fewer than five maps would be left."""
    mirror: Literal["never", "auto"] = "auto"
    """``auto`` also learns from those mirror images of the maps that keep the hard structure of all of them, and of
    Sokoban from those turned by a quarter, too."""
    captions: Annotated[str | None, PathMark()] = None
    """CSV file with the columns name and caption: words about each map, to ask for levels by words of one's own;
    takes ``model.options: {text_encoder: ...}``."""
    skip_bad: bool = False
    """Leave out maps that cannot be read, and say which, instead of stopping."""


class SceneCandidate(BehaviorCandidate):
    """One model to choose from, with options of its own."""

    start: Annotated[OneName, _IS_MODEL]
    """Its name, as ``model.start`` takes it."""
    options: Annotated[_Options, AfterValidator(_without_encoder)] = Field(default_factory=dict)
    """Options of its source, in place of ``model.options``."""


class SceneModelSettings(ModelSettings):
    """Where to start from."""

    start: Annotated[str | Annotated[tuple[str | SceneCandidate, ...], Field(min_length=1)], _IS_MODEL] = (
        "bundled:tiles"
    )
    """A pretrained model (``bundled:tiles``, or ``transformers:NAME-OR-FOLDER`` for GPT-2 and other causal language
    models), or several to choose from by measurement; ``auto`` chooses among all that this machine has. In a list,
    ``{start: NAME, options: {...}}`` is a model with options of its own."""
    options: _Options = Field(default_factory=dict)
    """Options of the source; all plain names of a list have them. And ``text_encoder``, a folder of Hugging Face
    Transformers that reads captions, whatever the run starts from."""

    shared_options: ClassVar[tuple[str, ...]] = (_TEXT_ENCODER,)


class SceneAdaptSettings(Strict):
    """How the model meets the new tiles."""

    strategy: str = "full"
    """How weights may move: ``full``, ``probe`` (only what belongs to the new tiles), ``lp-ft`` (that first, then
    all), ``gradual`` (that first, then block after block), ``lora`` (that, and low-rank updates of the rest), ``l2-sp``
    (``lp-ft``, held to the pretrained weights), ``surgical-first``, ``surgical-middle``, ``surgical-last`` (that first,
    then one block as well)."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Learning rate of each block as a share of the next block's, counted from the output."""
    lora_rank: Annotated[int, Field(ge=1, le=1024, strict=True)] = 8
    """Rank of the updates of ``lora``."""
    l2_sp: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.1
    """How strongly ``l2-sp`` holds the body to its pretrained weights: the loss gets half of this times the squared
    distance."""


class ControlSettings(Strict):
    """What can be asked of a level."""

    measures: Literal["auto"] | Annotated[Names, AfterValidator(_without_repeats)] = "auto"
    """Measures that can be asked for, such as ``enemies``, ``gaps`` or ``tile:NAME``; ``auto`` takes all that the
    maps can have."""
    dropout: Share = 0.3
    """Share of training in which a measure is hidden, so that it may be left open when levels are made."""


class _SceneSteps(Strict):
    """What only scenes ask of training; a class of its own so that these keys come before the shared ones."""

    steps: Count = 600
    """Training steps, all phases together."""
    batch_size: Count = 8
    """Windows of levels per step."""
    window: Count | Literal["auto"] = "auto"
    """Columns (rows, when levels grow downwards) seen in one training step; ``auto`` is as many as the model can."""
    learning_rate: Rate = 0.001
    """Peak rate of the fine-tuned model."""
    scratch_learning_rate: Rate = 0.001
    """Peak rate of the from-scratch baseline, which has no weights worth protecting."""
    weight_decay: Annotated[float, Field(ge=0.0, le=100.0)] = 0.05
    """Weight decay, on matrices only."""
    patience: Count | None = None
    """Checks without a better validation loss before training stops early and the best weights return; null trains to
    the end. The loss on a few held-out maps is best long before what is made is best (docs/benchmarks/mario.md)."""
    check_every: Count = 50
    """Steps from one check of the validation loss to the next."""
    self_training_rounds: Annotated[int, Field(ge=0, le=1000, strict=True)] = 0
    """Rounds after ``steps`` in which the model makes levels and learns, beside the maps, those that the rules pass and
    that are new and unlike each other; the from-scratch baseline does the same."""
    self_training_levels: Count = 200
    """Levels that the model makes in each round, as they come."""
    self_training_steps: Count = 100
    """Training steps of each round."""
    self_training_share: Share = 0.5
    """Largest share of a round's windows that are of the model's own levels; the rest are of the maps. It is less where
    each such level would be seen more often than a map."""


class SceneTrainSettings(StepSettings, _SceneSteps):
    """How the weights move."""


class GenerateSettings(Strict):
    """How levels are made, unless ``ngp generate`` is told otherwise."""

    size: Annotated[str, AfterValidator(_plain_size)] | None = None
    """HEIGHTxWIDTH in tiles, such as 14x150; null takes the sizes of the maps."""
    temperature: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    """Above 1 more daring, below 1 more usual; 0 always takes the likeliest tile."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Draw only from the most probable tiles that hold this share of the probability together."""
    structures: Literal["auto", "none"] = "auto"
    """``auto`` keeps hard structure that the maps never break (whole pipes, one player, borders) while tiles are
    drawn; ``none`` lets the model do as it likes."""
    budget_samples: Count = 20
    """Samples that each level asked for may take before it is given up."""
    repairs: Annotated[int, Field(ge=0, le=10_000, strict=True)] = 6
    """Repairs of one sample before a new one is drawn."""
    min_distance: Annotated[int, Field(ge=0, le=10**9, strict=True)] = 5
    """Tiles in which a level must differ from the nearest training level; one that does not is a copy, and is not
    delivered."""
    solver_nodes: Count = 200_000
    """States that the solver may look at for one level before it says undecided."""


class SceneEvaluateSettings(Strict):
    """What fine-tuning must beat, and how sure we want to be."""

    baselines: Names = ("zero-shot", "scratch", "markov", "wave-function-collapse", "nearest-copy")
    """Baselines to run."""
    samples: Count = 40
    """Levels that each model makes, as they come, for the raw figures."""
    deliver: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 10
    """Levels to deliver, verified and repaired, for the delivered figures."""
    requests: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 20
    """Random requests to see how well what is asked is met."""
    resamples: Resamples = 2000
    """Bootstrap resamples."""
    level: EvaluateLevel = 0.95
    """Confidence level of the intervals."""


class SceneRecipe(Strict):
    """The whole recipe of a scene run."""

    scenario: Literal["scene"] = "scene"
    """The job: scene (make new levels like a designer's own)."""
    name: RunName = "run"
    """Name of the run folder."""
    seed: Seed = 0
    """Seed of everything random."""
    runs: Annotated[str, PathMark()] = "runs"
    """Folder that holds the run folders."""
    data: SceneDataSettings
    model: SceneModelSettings = Field(default_factory=SceneModelSettings)
    adapt: SceneAdaptSettings = Field(default_factory=SceneAdaptSettings)
    control: ControlSettings = Field(default_factory=ControlSettings)
    train: SceneTrainSettings = Field(default_factory=SceneTrainSettings)
    generate: GenerateSettings = Field(default_factory=GenerateSettings)
    evaluate: SceneEvaluateSettings = Field(default_factory=SceneEvaluateSettings)
    pretrain: ScenePretrainSettings = Field(default_factory=ScenePretrainSettings)
