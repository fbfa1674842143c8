"""What becomes of the weights after training: WiSE-FT or a greedy soup, chosen by the loss on validation clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from newgameplus import progress
from newgameplus.adapt import ClipClassifier
from newgameplus.adapt.averaging import Weights, average_weights, interpolate, measure_statistics, same_statistics
from newgameplus.recipe import TrainSettings
from newgameplus.train.examples import ClipExamples
from newgameplus.train.objectives import classification_loss
from newgameplus.train.order import shuffled_batches
from newgameplus.train.snapshots import Snapshots

__all__ = ["WeightChoice", "choose_weights"]

_SHARES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
_AT_ONCE = 64


@dataclass(frozen=True)
class WeightChoice:
    """Which weights were taken, and why.

    Attributes:
        text: In a few words, for a reader of the results.
        losses: Validation loss of every candidate, by name.
    """

    text: str
    losses: dict[str, float]


def choose_weights(
    after: str,
    classifier: ClipClassifier,
    kept: Sequence[Snapshots],
    epochs: int,
    train: ClipExamples,
    validation: ClipExamples,
    settings: TrainSettings,
) -> WeightChoice:
    """Replace the weights of a trained classifier by the best mixture on the validation clips.

    Ties go to the trained weights as they are (``wise-ft``) and to fewer ingredients (``soup``).

    Args:
        after: ``wise-ft``: between the weights after the head phase and the trained ones (Wortsman et al. 2022, arXiv
            2109.01903). ``soup``: the trained weights and those kept after epochs, of all trainings, added greedily
            (Wortsman et al. 2022, arXiv 2203.05482).
        classifier: As trained; changed in place, left in evaluation mode.
        kept: Weights kept on the way: of this training, then of those with other seeds.
        epochs: Epochs of the last phase.
        train: Training clips, which the statistics of mixed weights are measured on; they are not varied.
        validation: Clips to choose by.
        settings: The recipe's ``train``.
    """
    judge = _Judge(classifier, train, validation, settings)
    trained = {name: value.detach().cpu().clone() for name, value in classifier.state_dict().items()}
    if after == "wise-ft":
        return _interpolated(judge, kept[0].head(), trained)
    candidates: dict[str, Weights] = {"trained": trained}
    for number, one in enumerate(kept):
        label = f"seed {number + 1}, " if len(kept) > 1 else ""
        candidates |= {f"{label}{name}": weights for name, weights in one.epochs(epochs).items()}
    return _soup(judge, candidates)


class _Judge:
    """Puts weights into a classifier, and tells their loss on the validation clips."""

    def __init__(
        self, classifier: ClipClassifier, train: ClipExamples, validation: ClipExamples, settings: TrainSettings
    ) -> None:
        self.classifier, self.train, self.validation = classifier, train, validation
        self.loss = classification_loss(train.targets, len(classifier.labels), settings)
        self.device = next(classifier.parameters()).device

    def put(self, ingredients: Sequence[Weights], mixed: Weights) -> None:
        """Load weights mixed of ingredients; measure their statistics anew if the ingredients' differ."""
        self.classifier.load_state_dict(mixed)
        if len(ingredients) > 1 and not same_statistics(self.classifier, ingredients):
            measure_statistics(self.classifier, self._training_clips())

    @torch.no_grad()
    def judge(self, ingredients: Sequence[Weights], mixed: Weights) -> float:
        """Return the mean loss on the validation clips."""
        self.put(ingredients, mixed)
        self.classifier.eval()
        total, count = 0.0, len(self.validation.targets)
        for start in range(0, count, _AT_ONCE):
            inputs, targets = self.validation.batch(np.arange(start, min(start + _AT_ONCE, count)), None)
            total += float(self.loss(self.classifier(inputs.to(self.device)), targets.to(self.device))) * len(targets)
        return total / count

    def _training_clips(self) -> Iterator[Tensor]:
        for positions in shuffled_batches([0], len(self.train.targets), _AT_ONCE):
            yield self.train.batch(positions, None)[0].to(self.device)


def _interpolated(judge: _Judge, head: Weights, trained: Weights) -> WeightChoice:
    losses: dict[float, float] = {}
    for share in _SHARES:
        losses[share] = judge.judge(*_mixture(head, trained, share))
    best = min(_SHARES, key=lambda share: (losses[share], -share))
    judge.put(*_mixture(head, trained, best))
    judge.classifier.eval()
    text = f"WiSE-FT, {best:.0%} fine-tuned weights"
    progress.say(f"  {text}: validation loss {losses[best]:.3f}, {losses[1.0]:.3f} without")
    return WeightChoice(text, {f"{share:.0%} fine-tuned": loss for share, loss in losses.items()})


def _mixture(head: Weights, trained: Weights, share: float) -> tuple[list[Weights], Weights]:
    """Return what is mixed, and the mixture; the ends are one ingredient each, and stay exactly as they are."""
    if share in (0.0, 1.0):
        return [trained if share else head], trained if share else head
    return [head, trained], interpolate(head, trained, share)


def _soup(judge: _Judge, candidates: Mapping[str, Weights]) -> WeightChoice:
    losses = {name: judge.judge([weights], weights) for name, weights in candidates.items()}
    order = sorted(candidates, key=lambda name: losses[name])  # stable: the trained weights come first among equals
    chosen = [order[0]]
    best = losses[order[0]]
    for name in order[1:]:
        ingredients = [candidates[one] for one in [*chosen, name]]
        loss = judge.judge(ingredients, average_weights(ingredients))
        if loss < best:
            chosen, best = [*chosen, name], loss
    ingredients = [candidates[name] for name in chosen]
    judge.put(ingredients, average_weights(ingredients) if len(chosen) > 1 else ingredients[0])
    judge.classifier.eval()
    text = f"soup of {len(chosen)} of {len(candidates)} ({'; '.join(chosen)})"
    progress.say(f"  {text}: validation loss {best:.3f}, {losses['trained']:.3f} without")
    return WeightChoice(text, losses | {"soup": best})
