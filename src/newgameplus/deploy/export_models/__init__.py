"""How the model of each scenario leaves: what it takes, what it gives, and real inputs to check it on."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from newgameplus.deploy.exportable import Exportable
from newgameplus.run import Run

__all__ = ["EXPORTED_MODELS", "open_exportable"]

#: ``module:function`` of a run and a path of real inputs (or None), by scenario.
EXPORTED_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "behavior": "newgameplus.deploy.export_models.behavior:open_behavior",
        "agent": "newgameplus.deploy.export_models.agent:open_agent",
        "scene": "newgameplus.deploy.export_models.scene:open_tiles",
    }
)


def open_exportable(run: Run, data: str | Path | None) -> Exportable:
    """Return a finished run's model, ready to leave.

    Args:
        run: The run.
        data: Real inputs to check with instead of the run's own.

    Raises:
        NewGamePlusError: It has no model, or no real inputs can be had.
    """
    module, _, name = EXPORTED_MODELS[run.recipe.scenario].partition(":")
    opened: Exportable = getattr(importlib.import_module(module), name)(run, data)
    return opened
