"""How several processes share each step so that it is the step of one process with the same global batch.

The batch of a recipe is the batch of all processes together. Each takes its part of it, its loss is weighed by its
share, and gradients are added up: the sum is the gradient of the whole batch, for parts of unequal size and weighted
classes too. Batch normalization sees the whole batch (:mod:`newgameplus.train.normalization`), and what light,
contrast, position and mirroring draw is drawn for the whole batch and then cut, so that none depends on the number of
processes. Sums are added in another order than in one process, so results agree to rounding and not to the bit.
Dropout, and augmentation that draws clip by clip, draw anew in each process: with them results agree in distribution
only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus.adapt import ClipClassifier
from newgameplus.errors import Problem, TrainingError
from newgameplus.train.processes import add_up, gather, process_count, process_rank
from newgameplus.train.sharded import sharded_copy, wants_sharding, whole

__all__ = ["Team", "batch_problem", "part_of"]

_BUCKET_BYTES = 25 * 2**20


def part_of(count: int) -> slice:
    """Return which of ``count`` things in a row are this process's: parts differ by one at most."""
    rank, processes = process_rank(), process_count()
    return slice(count * rank // processes, count * (rank + 1) // processes)


def batch_problem(batch_size: int, key: str = "train.batch_size") -> Problem:
    """Return what to say where there are more processes than examples in a batch; the recipe has its size at a key."""
    count = process_count()
    remedy = f"set {key} to {count} or more, or start fewer processes"
    return Problem(f"{count} processes cannot share a batch of {batch_size}", key, remedy)


class _WholeDraws:
    """Stands for a generator: what is drawn once for all examples is drawn for the whole batch, then cut.

    What is drawn example by example, as many numbers as it takes, comes from a generator of this process's own.
    """

    def __init__(self, generator: np.random.Generator, own: np.random.Generator, whole: int, part: slice) -> None:
        self._generator, self._own, self._whole, self._part = generator, own, whole, part
        self._mine = part.stop - part.start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def _draw(self, name: str, *arguments: Any, size: Any = None, **more: Any) -> Any:
        shape = (size,) if isinstance(size, int | np.integer) else tuple(size or ())
        if not shape or shape[0] != self._mine:
            return getattr(self._own, name)(*arguments, size=size, **more)
        return getattr(self._generator, name)(*arguments, size=(self._whole, *shape[1:]), **more)[self._part]

    def random(self, size: Any = None, **more: Any) -> Any:
        return self._draw("random", size=size, **more)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return self._draw("uniform", low, high, size=size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return self._draw("normal", loc, scale, size=size)

    def integers(self, low: Any, high: Any = None, size: Any = None, **more: Any) -> Any:
        return self._draw("integers", low, high, size=size, **more)


class Team:
    """The processes of one training; in a single process every method leaves things as they are.

    Args:
        batch_size: Examples of a global batch.
        class_weights: Weight of each class in the loss, float32 [classes]; None: all alike.

    Attributes:
        reduced_bytes: Bytes of gradients that this process has handed over so far.
        sharded: Whether the weights are spread over the processes now.

    Raises:
        TrainingError: There are more processes than examples in a batch.
    """

    def __init__(self, batch_size: int, class_weights: Tensor | None = None) -> None:
        self.count, self.rank = process_count(), process_rank()
        self.class_weights = class_weights
        self.reduced_bytes = 0
        self._takes_part = True
        self._plain: ClipClassifier | None = None
        if batch_size < self.count:
            problem = batch_problem(batch_size)
            raise TrainingError(problem.message, source=problem.source, remedy=problem.remedy)

    @property
    def sharded(self) -> bool:  # noqa: D102 - see the class
        return self._plain is not None

    def shard(self, classifier: ClipClassifier) -> ClipClassifier:
        """Return a copy with its weights spread over the processes if that was asked for, else the classifier."""
        if not wants_sharding():
            return classifier
        self._plain = classifier
        return sharded_copy(classifier, next(classifier.parameters()).device.type)

    def unshard(self, classifier: ClipClassifier) -> ClipClassifier:
        """Return the classifier that :meth:`shard` was given, with what was learned in it."""
        plain, self._plain = self._plain, None
        if plain is None:
            return classifier
        plain.load_state_dict(whole(classifier.state_dict()))
        return plain

    def part(
        self, positions: Any, generator: np.random.Generator, seeds: Sequence[int]
    ) -> tuple[Any, np.random.Generator]:
        """Return this process's positions of a global batch, and a generator that draws as one process would.

        Args:
            positions: int64 [batch]; the global batch.
            generator: What one process would draw from.
            seeds: What the masks of dropout in this step depend on.
        """
        if self.count == 1:
            return positions, generator
        torch.manual_seed(int(np.random.SeedSequence([*seeds, self.rank]).generate_state(1)[0]))
        mine = part_of(len(positions))
        self._takes_part = mine.stop > mine.start
        if not self._takes_part:  # fewer examples than processes: run one along, with no weight
            mine = slice(0, 1)
        own = np.random.default_rng([*seeds, 1 + self.rank])
        return positions[mine], cast("np.random.Generator", _WholeDraws(generator, own, len(positions), mine))

    def weigh(self, loss: Tensor, targets: Tensor) -> tuple[Tensor, float]:
        """Return this part's share of the loss of the whole batch, and that loss.

        Args:
            loss: Mean loss of this process's part, terms that do not depend on examples included.
            targets: int64 [part]; its classes.
        """
        if self.count == 1:
            return loss, float(loss.detach())
        weight = loss.new_tensor(float(len(targets)), dtype=torch.float64)
        if self.class_weights is not None:
            weight = self.class_weights.to(targets.device)[targets].double().sum()
        if not self._takes_part:
            weight = torch.zeros_like(weight)
        # A part without weight may have any loss: it must not turn the sum into "not a number".
        value = loss.detach().double() if self._takes_part else torch.zeros_like(weight)
        sums = torch.stack([weight * value, weight])
        add_up(sums)
        share = (weight / sums[1]).to(loss.dtype) * (self.count if self.sharded else 1)  # shards take the mean
        return (loss * share if self._takes_part else loss.nan_to_num() * 0.0), float(sums[0] / sums[1])

    def mean_of(self, total: Tensor, count: int) -> tuple[Tensor, float, int]:
        """Return this part's share of the mean loss of the whole batch, and sum and count of the whole batch.

        Args:
            total: Sum of the losses of this process's part.
            count: What they are of: clips, tiles.
        """
        if self.count == 1:
            return total / count, total.item(), count
        sums = torch.stack([total.detach().double(), total.new_tensor(float(count), dtype=torch.float64)])
        add_up(sums)
        return total / float(sums[1]), float(sums[0]), int(sums[1])

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add the gradients of all processes up, in place."""
        if self.count == 1 or self.sharded:
            return
        gradients = [one.grad for one in parameters if one.grad is not None]
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            add_up(flat)
            self.reduced_bytes += flat.numel() * flat.element_size()
            for gradient, summed in zip(bucket, torch.split(flat, [one.numel() for one in bucket]), strict=True):
                gradient.copy_(summed.view_as(gradient))

    @torch.no_grad()
    def level(self, module: nn.Module) -> None:
        """Give every process the main one's weights and buffers."""
        if self.count == 1 or self.sharded:
            return
        from torch import distributed

        for value in module.state_dict().values():
            distributed.broadcast(value, src=0)

    def mine(self, things: Sequence[int]) -> Sequence[int]:
        """Return this process's part of things to do with the network; with shards all do all, and gather together."""
        return things if self.count == 1 or self.sharded else things[part_of(len(things))]

    def total(self, *numbers: float) -> list[float]:
        """Return the sums over all processes of numbers that come of :meth:`mine`, the same everywhere."""
        if self.count == 1 or self.sharded:
            return list(numbers)
        return [float(sum(values)) for values in zip(*gather(numbers), strict=True)]

    @contextlib.contextmanager
    def together(self, module: nn.Module) -> Iterator[None]:
        """Let batch normalization see the whole batch while the block runs."""
        if self.count == 1:
            yield
            return
        from newgameplus.train.normalization import normalizing_together

        with normalizing_together(module, lambda: self._takes_part):
            yield


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield gradients of one kind, about 25 MB at a time."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (gradient.dtype != bucket[0].dtype or size >= _BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel() * gradient.element_size()
    if bucket:
        yield bucket
