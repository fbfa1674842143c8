"""Stored steps as batches: single steps, or for policies with memory sequences with the memory they begin from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus.games.episodes import StepTable
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.train.minibatches import Minibatch

__all__ = ["Sequences"]

_AT_ONCE = 4096


class Sequences:
    """Steps of a table, cut into sequences of one length that may run over the ends of episodes.

    Memory is cleared at the starts of episodes on the way, and a sequence that begins in the middle of an episode has
    the memory that a network had there (Kapturowski et al. 2019, stored states): see :meth:`refresh`.

    Args:
        table: At least one step.
        network: Tells the device, and whether there is memory.
        length: Steps of a sequence; not read without memory.
    """

    def __init__(self, table: StepTable, network: PolicyNetwork, length: int = 32) -> None:
        self.table = table
        self.device = network.actor_head.weight.device
        self.recurrent = network.memory is not None
        self.length = min(length, len(table)) if self.recurrent else 1
        last = len(table) - self.length
        self.firsts = np.unique(np.minimum(np.arange(0, len(table), self.length), last))
        arrays: dict[str, npt.NDArray[Any]] = {"actions": table.actions, "returns": table.returns}
        if table.masks is not None:
            arrays["masks"] = table.masks
        if self.recurrent:
            arrays["starts"] = table.starts
        self.columns = {name: torch.as_tensor(values, device=self.device) for name, values in arrays.items()}
        self.seen = {name: torch.as_tensor(v, device=self.device) for name, v in table.observations.items()}
        self.states = network.initial_state(len(self.firsts))

    def __len__(self) -> int:
        return len(self.firsts)

    def rows_for(self, steps: int) -> int:
        """Return how many sequences hold about that many steps."""
        return max(1, steps // self.length)

    def add(self, name: str, values: Tensor) -> None:
        """Add a column [steps, ...]."""
        self.columns[name] = values

    def take(self, rows: npt.NDArray[np.int64] | Sequence[int]) -> Minibatch:
        """Return sequences by number: [n, ...], or with memory [length, n, ...]."""
        first = self.firsts[np.asarray(rows)]
        places = first if not self.recurrent else first[None] + np.arange(self.length)[:, None]
        index = torch.as_tensor(places, device=self.device)
        seen = {name: values[index] for name, values in self.seen.items()}
        columns = {name: values[index] for name, values in self.columns.items()}
        state = self.states[torch.as_tensor(np.asarray(rows), device=self.device)] if self.recurrent else None
        return Minibatch(seen, columns, state)

    @torch.no_grad()
    def refresh(self, network: PolicyNetwork) -> None:
        """Let sequences begin with the memory that ``network`` has there as it is now."""
        if self.recurrent and network.state_width == self.states.shape[1]:
            self.states = self._walk(network)[1]

    @torch.no_grad()
    def ask(self, network: PolicyNetwork) -> Tensor:
        """Return a network's logits or means for every step of the table, float32 [steps, width]."""
        return self._walk(network)[0]

    def _walk(self, network: PolicyNetwork) -> tuple[Tensor, Tensor]:
        """Go through all episodes side by side; return the answers, and the memory before each sequence."""
        count = len(self.table)
        pieces = []
        for first in range(0, count, _AT_ONCE):
            seen = {name: values[first : first + _AT_ONCE] for name, values in self.seen.items()}
            pieces.append(network.features(seen))
        features, theirs = (torch.cat(each) for each in zip(*pieces, strict=True))
        masks, empty = self.columns.get("masks"), network.initial_state(1)
        if network.memory is None:
            return network.answer(features, theirs, empty, masks).distribution.answer, self.states
        begins = np.union1d([0], np.flatnonzero(self.table.starts))
        lengths = np.diff(np.r_[begins, count])
        behind = features.new_zeros(count, network.shape.memory_width)
        before = features.new_zeros(count, network.state_width)
        state = network.initial_state(len(begins))
        for step in range(int(lengths.max())):
            alive = np.flatnonzero(lengths > step)
            places = torch.as_tensor(begins[alive] + step, device=self.device)
            rows = torch.as_tensor(alive, device=self.device)
            before[places] = state[rows]
            after, state_rows = network.remember(features[places], state[rows], None)
            behind[places] = after
            state[rows] = state_rows
        answer = network.answer(behind, behind, empty, masks).distribution.answer
        return answer, before[torch.as_tensor(self.firsts, device=self.device)]
