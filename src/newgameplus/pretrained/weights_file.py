"""A file of weights that someone else's program wrote, and the function that builds the network for it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from newgameplus.errors import NewGamePlusError, PretrainedModelError
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.torch_file import CONVERT, check_finite, read_torch
from newgameplus.tensors import load_tensors

__all__ = ["call_factory", "find_factory", "read_weights"]

_NESTS = (
    "state_dict",
    "model_state_dict",
    "policy_state_dict",
    "agent_state_dict",
    "model",
    "policy",
    "agent",
    "weights",
)
_TORCH = (".pt", ".pth", ".bin", ".ckpt", ".th")
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill")
_SOURCE = "model.options.factory"


def read_weights(path: Path, key: str | None = None, *, hints: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """Return the tensors of a file by name; nothing in it is ever run.

    Args:
        path: Safetensors, or torch's zip format with nothing but tensors in it.
        key: Entry of the file in which the tensors stand; None looks for the usual ones.
        hints: By ending of a file that is no weights file: what to do with it instead.

    Raises:
        PretrainedModelError: It is missing, damaged, holds more than tensors, or numbers that are not finite.
    """
    source = str(path)
    if not path.is_file():
        kinds = (".safetensors", *_TORCH)
        near = (
            [str(one) for one in sorted(path.parent.glob("*")) if one.suffix in kinds] if path.parent.is_dir() else []
        )
        remedy = did_you_mean(source, near[:20]) if near else "check the path; it is taken from where you run ngp"
        raise PretrainedModelError("there is no such file", source=source, remedy=remedy)
    if path.suffix == ".safetensors":
        remedy = "copy the file again; it is damaged or no safetensors"
        return check_finite(load_tensors(path, PretrainedModelError, remedy=remedy)[0], source)
    if path.suffix in _PICKLES:
        message = "this is a pickle, which is never loaded: it can run anything"
        raise PretrainedModelError(message, source=source, remedy=CONVERT)
    if path.suffix not in _TORCH:
        hint = (hints or {}).get(path.suffix, "")
        remedy = f"give {', '.join(('.safetensors', *_TORCH))}" + (f" ({hint})" if hint else "")
        raise PretrainedModelError(f"files of kind {path.suffix!r} are not known", source=source, remedy=remedy)
    content = read_torch(path.read_bytes(), source)
    if not isinstance(content, Mapping):
        remedy = "save network.state_dict()"
        raise PretrainedModelError(f"it holds no mapping but {type(content).__name__}", source=source, remedy=remedy)
    entries = [name for name, value in content.items() if isinstance(value, Mapping)]
    if key is None and not any(isinstance(value, Tensor) for value in content.values()):
        key = next((nest for nest in _NESTS if nest in entries), None)
        if key is None:
            remedy = f"name the entry with the weights: options: {{key: ...}}, of {', '.join(map(str, entries))}"
            raise PretrainedModelError("it holds no tensors by name", source=source, remedy=remedy)
    if key is not None and key not in entries:
        remedy = did_you_mean(key, map(str, entries))
        raise PretrainedModelError(f"it has no entry {key!r} of tensors", source=source, remedy=remedy)
    return check_finite(content if key is None else content[key], source)


def find_factory(spec: Any) -> Callable[..., Any]:
    """Return the function that ``file.py:function`` or ``module:function`` names; the user's own program, and run.

    Raises:
        PretrainedModelError: There is no such file, module or function, or importing it fails.
    """
    where, colon, attribute = str(spec).rpartition(":")
    if not colon or not where or not attribute:
        remedy = "write file.py:function or module:function"
        raise PretrainedModelError(f"{spec!r} names no function", source=_SOURCE, remedy=remedy)
    module = _import(where, str(spec))
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        remedy = did_you_mean(attribute, known)
        raise PretrainedModelError(f"{where} has no function {attribute!r}", source=str(spec), remedy=remedy)
    found: Callable[..., Any] = function
    return found


def call_factory(spec: str, offered: Mapping[str, Any]) -> Any:
    """Call a factory with those of the offered arguments that it takes by name; return what it made.

    Raises:
        PretrainedModelError: It cannot be found, needs other arguments, or fails.
    """
    function = find_factory(spec)
    try:
        parameters = inspect.signature(function).parameters.values()
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        named = [one for one in parameters if one.kind not in kinds]
        wanting = [one.name for one in named if one.default is one.empty and one.name not in offered]
    except (TypeError, ValueError):  # a function of C code shows no signature
        named, wanting = [], []
    if wanting:
        message = f"the factory needs {', '.join(wanting)}, which New Game+ does not know"
        remedy = f"give them defaults; it may take {', '.join(offered) or 'nothing'}"
        raise PretrainedModelError(message, source=spec, remedy=remedy)
    try:
        return function(**{one.name: offered[one.name] for one in named if one.name in offered})
    except NewGamePlusError:
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        message = f"the factory failed ({words:.300})"
        raise PretrainedModelError(message, source=spec, remedy="correct the program") from error


def _import(where: str, spec: str) -> ModuleType:
    path = Path(where).expanduser()
    if path.suffix == ".py" and not path.is_file():
        raise PretrainedModelError(f"there is no file {where}", source=_SOURCE, remedy="correct the path")
    try:
        if path.suffix != ".py":
            return importlib.import_module(where)
        plan = importlib.util.spec_from_file_location(f"newgameplus_factory_{path.stem}", path)
        if plan is None or plan.loader is None:
            raise ImportError(f"{where} is no Python file")
        module = importlib.util.module_from_spec(plan)
        plan.loader.exec_module(module)
        return module
    except (Exception, SystemExit) as error:
        words = f"{type(error).__name__}: {error}"
        message = f"importing {where} failed ({words:.300})"
        raise PretrainedModelError(message, source=spec, remedy="correct the program or its name") from error
