"""The recipe of the agent scenario: which game, which start, how the policy learns, what it must not forget."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

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
    Strict,
)
from newgameplus.recipe_start import CandidateSettings, OneName, StartSettings

__all__ = [
    "AgentAdaptSettings",
    "AgentCandidate",
    "AgentDataSettings",
    "AgentEvaluateSettings",
    "AgentModelSettings",
    "AgentRecipe",
    "AgentTrainSettings",
    "CloneSettings",
    "EnvironmentSettings",
    "RetentionSettings",
    "RetentionTerm",
]

_PROGRAMS = (".py",)
_IS_POLICY = PathMark(or_name=True, prefixes=("run", "sb3", "checkpoint", "behavior", "transformers"))
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0, le=1e9)]


class EnvironmentSettings(Strict):
    """Which game."""

    id: Annotated[str, PathMark(or_name=True, suffixes=_PROGRAMS)]
    """Gymnasium id (``MiniGrid-DoorKey-8x8-v0``), or what makes one: ``module:function`` or ``file.py:function``."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Keyword arguments of the environment."""
    parts: Names = ()
    """Parts of the observation that the policy sees, such as ``[image, direction]``; empty takes all. Leave out what
    never changes, such as the mission of a game with one: reading it at every step costs time."""
    count: Count | Literal["auto"] = "auto"
    """Copies stepped together; ``auto`` takes 16 (64 where the maker steps them natively)."""
    vectorize: Literal["auto", "sync", "process", "native"] = "auto"
    """``native`` lets the game's maker step all copies (envpool, Atari, MinAtar), ``process`` uses one process a core
    with shared memory, ``sync`` steps one after the other; ``auto`` takes native where there is one, else sync for
    fast games and process for slow ones."""
    time_limit: Count | None = None
    """Most steps of an episode; null keeps the game's own limit."""
    success: str = "auto"
    """What counts as success: a key of ``info`` that is true at the end (``auto`` looks for ``is_success`` and
    ``success``), or ``reward`` (an episode whose rewards sum up to more than 0)."""
    others: Names = ()
    """Other games on which the policy is measured before and after, such as the one it was made for: what was
    forgotten."""


class AgentDataSettings(Strict):
    """Demonstrations, if there are any."""

    path: Annotated[str | None, PathMark()] = None
    """Folder or file of demonstrations: our recordings, a Minari data set, npz or Parquet; null goes without."""
    top: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the episodes, those of the highest returns, that are learned from."""
    success_only: bool = False
    """Learn only from episodes that reached the goal."""
    max_episodes: Count | None = None
    """Use at most this many episodes (to see what fewer demonstrations give)."""
    test: Share = 0.2
    """Share of the episodes kept to measure agreement on."""
    skip_bad: bool = False
    """Leave out episodes that cannot be used, and say which, instead of stopping."""


class AgentCandidate(CandidateSettings):
    """One policy to choose from, with options of its own."""

    start: Annotated[OneName, _IS_POLICY]
    """Its name, as ``model.start`` takes it."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of its source, in place of ``model.options``."""


class AgentModelSettings(StartSettings):
    """Where to start from, and how a network that starts anew is built."""

    start: Annotated[str | Annotated[tuple[str | AgentCandidate, ...], Field(min_length=1)], _IS_POLICY] = "fresh"
    """``fresh``, ``bundled:NAME``, ``run:FOLDER``, ``sb3:FILE.zip``, ``checkpoint:FILE``, ``behavior:FOLDER`` or
    ``transformers:NAME-OR-FOLDER``; or several to choose from by measurement; ``auto`` chooses among random weights,
    bundled policies and those of earlier runs. In a list, ``{start: NAME, options: {...}}`` is a start with options of
    its own."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of the source; all plain names of a list have them."""
    use: Literal["any", "research", "commercial"] = "any"
    """What the fine-tuned policy is for; starts whose licence forbids it are refused."""
    encoder: Literal["auto", "flatten", "mlp", "nature-cnn", "impala-cnn", "small-cnn", "transformer"] = "auto"
    """How what is seen becomes features; ``auto`` goes by its kind and size."""
    features: Count = 128
    """Width of the features of an encoded image, grid or text."""
    trunk: tuple[Count, ...] = ()
    """Widths of layers that actor and critic share."""
    memory: Literal["none", "gru", "lstm"] = "none"
    """Recurrent layer, for games in which the past must be remembered."""
    memory_width: Count = 128
    """Its width."""
    actor: tuple[Count, ...] = (64, 64)
    """Widths of the actor's own hidden layers."""
    critic: tuple[Count, ...] = (64, 64)
    """Widths of the critic's own hidden layers."""
    share: bool = True
    """Whether actor and critic share encoder and trunk."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Of trunk, actor and critic."""
    normalize: bool = True
    """Bring numbers that are seen to zero mean and unit variance, by statistics saved with the policy."""


class AgentAdaptSettings(Strict):
    """Which weights may move."""

    strategy: Literal["full", "frozen-encoder", "heads"] = "full"
    """``full`` moves all, ``frozen-encoder`` all but the encoders (of a policy that sees what it saw before), ``heads``
    only the two last layers."""


class CloneSettings(Strict):
    """How demonstrations are imitated, before the policy plays itself."""

    epochs: Count | Literal["auto"] = "auto"
    """Passes over the demonstrations; ``auto`` takes about 2,000 steps."""
    learning_rate: Rate = 0.001
    """Peak rate."""
    batch_size: Count = 256
    """Steps of demonstrations in one training step (for a memory: in whole sequences)."""
    sequence: Count = 32
    """Steps of a sequence, for policies with memory."""
    weights: Literal["equal", "return", "advantage"] = "equal"
    """What counts: all alike, episodes by their return, or steps by how much better than expected they turned out."""
    entropy: Weight = 0.0
    """Bonus for staying undecided."""


class AgentTrainSettings(Strict):
    """Policy optimization (PPO), made for policies that know something already."""

    steps: Annotated[int, Field(ge=0, le=10**12, strict=True)] = 200_000
    """Steps of the game, all copies together; 0 only clones."""
    rollout: Count = 128
    """Steps of each copy between two updates."""
    epochs: Count = 4
    """Passes over each rollout."""
    batch_size: Count = 512
    """Steps in one minibatch (for a memory: in whole sequences of the rollout)."""
    learning_rate: Rate = 3e-4
    """Peak rate of the actor and of what it shares."""
    critic_learning_rate: Rate = 1e-3
    """Peak rate of what only the critic has."""
    schedule: Literal["linear", "constant"] = "linear"
    """What the rates do: fall to zero, or stay."""
    critic_warmup: Share = 0.05
    """Share of the steps in which only the critic learns and the policy stays as it is; a start without a critic that
    knows this game's rewards would be torn apart by it. Not used for a fresh start."""
    gamma: Unit = 0.99
    """Discount of later rewards."""
    gae_lambda: Unit = 0.95
    """Bias against variance of the advantages (Schulman et al. 2016)."""
    clip: Positive = 0.2
    """How far a minibatch may move a probability, as a ratio."""
    value_clip: Positive | None = None
    """How far a minibatch may move a value; null lets it go."""
    value_weight: Weight = 0.5
    """Weight of the critic's loss."""
    entropy: Weight | Literal["auto"] = "auto"
    """Bonus for staying undecided; ``auto`` is 0.01 for a fresh start, and 0 for one that knows something: it would
    wash that out."""
    kl_stop: Positive | None = 0.03
    """Mean divergence from the policy of the rollout at which an update ends early; null never ends it."""
    gradient_clip: Positive | None = 0.5
    """Largest gradient norm; null does not clip."""
    normalize_advantages: bool = True
    """Bring advantages to zero mean and unit variance in each minibatch."""
    normalize_returns: bool = True
    """Scale rewards by the running deviation of the discounted return, saved with the policy."""
    reward_clip: Positive | None = 10.0
    """Largest scaled reward, so that a reward of 1e9 tears nothing apart; null lets all through."""
    checkpoints: Count = 10
    """Checkpoints in all. Episodes begin anew at each of them, so that a resumed run plays the same games."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; ``auto`` stays on the CPU for small networks."""
    threads: Annotated[int, Field(ge=1, le=4096, strict=True)] | Literal["auto"] = "auto"
    """Processor threads; ``auto`` goes by the size of the network."""


class RetentionTerm(Strict):
    """One thing that keeps a policy from forgetting."""

    kind: str
    """``kickstarting`` (stay near the start policy where the policy itself goes), ``cloning`` (stay near the start
    policy, or the demonstrators, on stored expert states), ``ewc`` (hold weights that mattered), ``l2-sp`` (hold all
    weights), ``memory`` (keep learning from stored expert episodes)."""
    weight: Weight | Literal["auto"] = "auto"
    """Weight of the term at the start; ``auto`` takes what suits the kind."""
    schedule: Literal["constant", "linear", "exponential"] = "constant"
    """How the weight falls."""
    until: Unit = 1.0
    """Share of the steps after which it is gone (linear), or a hundredth (exponential)."""
    batch: Count = 256
    """Expert states in each minibatch, for kinds that use them."""


class RetentionSettings(Strict):
    """What keeps the policy from forgetting what it knew."""

    terms: tuple[RetentionTerm, ...] | Literal["auto"] = "auto"
    """Terms, which add up; an empty list is plain fine-tuning. ``auto`` goes by what there is: ``cloning`` on expert
    states, and nothing for a fresh start without demonstrations."""
    states: Count = 10_000
    """Expert states to keep: of the demonstrations, or else of the start policy's play in the game that it was made for
    and in ``environment.others``."""


class AgentEvaluateSettings(Strict):
    """What fine-tuning must beat, and how sure we want to be."""

    baselines: Names = ("start", "scratch", "plain", "cloning")
    """Baselines: the start policy, training from scratch with the same steps, fine-tuning without retention, cloning
    only."""
    episodes: Count = 100
    """Episodes of each policy on each game."""
    deterministic: bool = False
    """Always take the likeliest action."""
    resamples: Resamples = 2000
    """Bootstrap resamples."""
    level: EvaluateLevel = 0.95
    """Confidence level of the intervals."""
    levels: Annotated[int, Field(ge=0, le=50, strict=True)] = 0
    """Levels of strength between a random and the full policy to calibrate for ``ngp play --level``; 0 leaves that to
    the first ``ngp play --level``."""


class AgentRecipe(Strict):
    """The whole recipe of an agent run."""

    scenario: Literal["agent"] = "agent"
    """The job: agent (play a game well, at the strength wanted)."""
    name: RunName = "run"
    """Name of the run folder."""
    seed: Seed = 0
    """Seed of everything random."""
    runs: Annotated[str, PathMark()] = "runs"
    """Folder that holds the run folders."""
    environment: EnvironmentSettings
    data: AgentDataSettings = Field(default_factory=AgentDataSettings)
    model: AgentModelSettings = Field(default_factory=AgentModelSettings)
    adapt: AgentAdaptSettings = Field(default_factory=AgentAdaptSettings)
    clone: CloneSettings = Field(default_factory=CloneSettings)
    train: AgentTrainSettings = Field(default_factory=AgentTrainSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    evaluate: AgentEvaluateSettings = Field(default_factory=AgentEvaluateSettings)
