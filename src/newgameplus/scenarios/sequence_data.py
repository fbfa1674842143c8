"""The data of behavior recognition from numbers over time: sequences, their classes, and a split by whole groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import PretrainedModelError, Problem
from newgameplus.evaluate.sequence_statistics import sequence_statistics
from newgameplus.files import digest_bytes
from newgameplus.games.fixed_sequences import FixedSequences, fix_sequences
from newgameplus.games.sequences import SequenceSet, data_kinds, find_sequences, load_sequences
from newgameplus.games.splits import check_leaks
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.sequence_backbone import SequenceBackbone, known_channels
from newgameplus.recipe import DataSettings
from newgameplus.scenarios.behavior_data import BehaviorGame, load_behavior_clips, split_clips
from newgameplus.shapes import InputShape
from newgameplus.train.sequence_examples import SequenceExamples

__all__ = ["SequenceGame", "load_sequence_game", "misfit", "pretrained_for"]

Indices = npt.NDArray[np.int64]
#: Sources whose models are made for the number of channels that the data have; others bring theirs.
_MADE_TO_MEASURE = ("sequence", "transformers")


@dataclass
class SequenceGame(BehaviorGame):
    """What the game gives as numbers over time.

    Attributes:
        sequences: The numbers.
        fixed: The sequences at each number of steps asked for so far.
    """

    sequences: SequenceSet = field(default_factory=lambda: SequenceSet(None, (), (), ()))  # type: ignore[arg-type]
    fixed: dict[int, FixedSequences] = field(default_factory=dict)
    forest_note = "300 trees on summary statistics of the channels"

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self.sequences.channels

    def at(self, shape: InputShape) -> Any:
        """Return all sequences at the number of steps of a model."""
        if shape.steps not in self.fixed:
            self.fixed[shape.steps] = fix_sequences(self.sequences, shape.steps)
        return self.fixed[shape.steps]

    def examples(
        self,
        shape: InputShape,
        indices: Indices,
        *,
        augment: bool | str | Sequence[str] = False,
        mirror: bool = False,  # noqa: ARG002 - numbers have no mirror image
    ) -> SequenceExamples:
        """Return sequences as examples to learn from."""
        return SequenceExamples(self.at(shape), indices, self.targets[indices], augment=augment)

    def simple_features(self, shape: InputShape, indices: Indices) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """Return summary statistics of the sequences at their own lengths."""
        return sequence_statistics([self.sequences.values[index] for index in indices.tolist()])


def load_sequence_game(data: DataSettings, seed: int) -> SequenceGame:
    """Read and split the sequences of a recipe, and check that no group or sequence leaks between the parts.

    Raises:
        DataError: A sequence cannot be read, or they cannot be split.
        SplitLeakError: The same numbers stand on both sides of a split.
    """
    clip_set, test_groups = load_behavior_clips(data, find_sequences)
    sequences = load_sequences(clip_set, channels=data.channels, skip_bad=data.skip_bad)
    kept = sequences.clip_set
    if kept.left_out:
        progress.say(f"left out {len(kept.left_out)} sequences that could not be read")
    split = split_clips(kept, test_groups, data, seed)
    split = check_leaks(kept.clips, sequences.digests, split, duplicates=data.duplicates)
    labels = kept.labels
    return SequenceGame(kept, labels, sequences.targets(labels), split, skip_bad=data.skip_bad, sequences=sequences)


def misfit(name: str, card: ModelCard, data: DataSettings) -> Problem | None:
    """Say why a model and the data do not fit together; ``None`` if they do."""
    kinds = data_kinds(data.path, data.labels)
    wants = "sequence" if card.modality == "sequence" else "clip"
    if wants in kinds:
        return None
    if wants == "clip":
        message = f"{name} looks at clips, and {data.path} holds numbers over time"
        remedy = "start from sequence:gru, or from a text network: transformers:NAME-OR-FOLDER"
    else:
        message = f"{name} reads numbers over time, and {data.path} holds clips"
        remedy = "start from a model of pictures, such as bundled:doom-clips, or give sequences (CSV, npz, npy)"
    return Problem(message, "model.start", remedy)


def pretrained_for(
    game: SequenceGame, name: str, *, fresh: bool = False, options: Mapping[str, Any] | None = None
) -> PretrainedModel:
    """Load a model for the channels of the data, standardized by the training sequences alone.

    A model that was trained on sequences before keeps the standardization that it was trained with.

    Raises:
        PretrainedModelError: The model takes clips, or other channels.
    """
    source = name.partition(":")[0]
    channels = game.sequences.channels
    chosen = dict(options or {})
    if source in _MADE_TO_MEASURE:
        chosen["channels"] = len(channels)
    model = load_pretrained(name, fresh=fresh, options=chosen)
    backbone = model.backbone
    if not isinstance(backbone, SequenceBackbone):
        remedy = "start from sequence:gru, or from a text network: transformers:NAME-OR-FOLDER"
        raise PretrainedModelError(f"{name} does not read numbers over time", source="model.start", remedy=remedy)
    known = known_channels(model.card)
    if (known and known != channels) or backbone.shape.channels != len(channels):
        was = ", ".join(known) or f"{backbone.shape.channels} of them"
        message = f"{name} was trained on the channels {was}, and these are {', '.join(channels)}"
        raise PretrainedModelError(message, source="model.start", remedy="choose the same with data.channels")
    if not known or fresh:
        backbone.standardize([game.sequences.values[index] for index in game.split.train.tolist()])
    facts = model.card.facts | {"channels": list(channels)}
    card = replace(model.card, facts=facts, digest=_digest(model.card.digest, backbone))
    return replace(model, card=card)


def _digest(weights: str, backbone: SequenceBackbone) -> str:
    """Return a digest of all that features depend on: without weights of a file, of the random ones too."""
    parts = [backbone.mean, backbone.spread, *backbone.projection.parameters()]
    parts += [] if weights else list(backbone.body.parameters())
    return digest_bytes(weights.encode(), *(part.detach().cpu().numpy().tobytes() for part in parts))
