"""The formats in which a fine-tuned model can leave. A new one is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from newgameplus.deploy.exportable import Arrays, Exportable
from newgameplus.errors import RecipeError
from newgameplus.recipe import did_you_mean

__all__ = ["EXPORT_FORMATS", "ExportFormat", "find_format"]


class ExportFormat(Protocol):
    """What a format can do.

    Attributes:
        title: What it is called in messages.
        suffix: How its files are named; empty if it is a folder.
    """

    title: str
    suffix: str

    def require(self) -> None:
        """Look whether its packages are there.

        Raises:
            MissingExtraError: One is not.
        """

    def write(self, model: Exportable, folder: Path, name: str) -> None:
        """Write the model as ``folder/name``, and beside it what belongs to it.

        Raises:
            ExportError: The network has a part that this format cannot say.
        """

    def runner(self, path: Path) -> Callable[[Arrays], Arrays]:
        """Return what runs a written model on a batch, as an engine would."""

    def describe(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Put facts (plain data) into a written model, without a change to what it answers."""


#: ``module:class`` by name.
EXPORT_FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "onnx": "newgameplus.deploy.export_formats.onnx:OnnxFormat",
        "tensorflow": "newgameplus.deploy.export_formats.tensorflow:TensorflowFormat",
    }
)


def find_format(name: str) -> ExportFormat:
    """Return a format by name.

    Raises:
        RecipeError: There is none of that name.
    """
    if name not in EXPORT_FORMATS:
        remedy = f"{did_you_mean(name, list(EXPORT_FORMATS))}known: {', '.join(EXPORT_FORMATS)}"
        raise RecipeError(f"{name!r} is not a format", source="--to", remedy=remedy)
    module, _, attribute = EXPORT_FORMATS[name].partition(":")
    found: ExportFormat = getattr(importlib.import_module(module), attribute)()
    return found
