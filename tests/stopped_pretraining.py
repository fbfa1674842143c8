"""A pretraining on clips or sequences that is interrupted in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from newgameplus.train import pretraining as loop


class Stopped(KeyboardInterrupt):
    """An interruption at a step of a test's choice."""


@contextmanager
def stopped_before(number: int) -> Iterator[None]:
    """Interrupt the pretraining in the block before a step, counted from 0; steps that are only timed go on."""
    step = loop._Loop.step

    def stopping(self: Any, now: int) -> float:
        if now == number and self.on_row is not None:
            raise Stopped
        return step(self, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Loop, "step", stopping)
        with pytest.raises(Stopped):
            yield
