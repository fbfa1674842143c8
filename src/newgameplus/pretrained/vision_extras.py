"""Torchvision and timm imported, or said why not: a wheel for CUDA beside a CPU build of torch breaks both."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from typing import Any

import torch

from newgameplus.errors import MissingExtraError, PretrainedModelError

__all__ = ["import_vision", "mending"]

_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def import_vision(package: str) -> Any:
    """Import ``torchvision`` or ``timm``.

    Raises:
        MissingExtraError: It is not installed.
        PretrainedModelError: It, or the torchvision beneath it, is installed but broken.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(package)
    except Exception as error:  # a broken binary may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise MissingExtraError(package, package) from error
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "torchvision" not in f"{said} {getattr(error, 'name', '')}" and package != "torchvision":
            raise MissingExtraError(package, package, said) from error
        broken = "" if package == "torchvision" else f", and {package} needs it"
        raise PretrainedModelError(
            f"torchvision {_version('torchvision')} is installed but broken beside torch {torch.__version__} "
            f"({said}){broken}",
            source=f"extra {package!r}",
            remedy=mending(),
        ) from error


def mending() -> str:
    """Return the commands that mend a torchvision that does not fit torch."""
    if torch.version.cuda:
        return "pip install --force-reinstall --no-deps torchvision (of the release that goes with this torch)"
    return (
        f"pip install --force-reinstall --no-deps torchvision --index-url {_CPU_INDEX} (a CPU build, like this torch), "
        "or pip uninstall torchvision if nothing else needs it"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"
