"""Models that Keras or TensorFlow wrote: ``.keras`` and ``.h5`` files, read without running anything that is in them.

A configuration may name Python code: Lambda layers and classes of the author's own. Both are looked for before Keras
reads the file, and refused, all of them at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from newgameplus.errors import NewGamePlusError, PretrainedModelError, Problem, raise_problems
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.keras_library import import_keras, quiet_keras
from newgameplus.pretrained.torch_file import open_zip, read_member

__all__ = ["SUFFIXES", "model_from_config", "read_config", "read_model"]

SUFFIXES = (".keras", ".h5", ".hdf5")

_DAMAGED = "copy the file again; it is damaged, or no file of Keras"
_SAVE_AGAIN = "load it where it was made and save it again, as model.save('model.keras')"
_LAMBDA = "a Lambda layer holds Python code, which is never run"
_LAMBDA_REMEDY = "put built-in layers in its place (Rescaling, Normalization, Activation, keras.ops), and save it again"
_CUSTOM_REMEDY = (
    "build the model of layers that come with Keras, or take its weights to a torch network of your own: "
    "checkpoint:FILE with the option factory"
)


def read_config(path: Path) -> tuple[dict[str, Any], str]:
    """Return a model's configuration and the version of Keras that wrote it.

    Args:
        path: A ``.keras`` or ``.h5`` file.

    Raises:
        PretrainedModelError: There is no such file, it is damaged or no whole model, or it names code of its own.
    """
    source = str(path)
    _check_place(path)
    if path.suffix == ".keras":
        with open_zip(path, source, _DAMAGED) as archive:
            content = _json(read_member(archive, "config.json", source, _DAMAGED, 1 << 28), source)
            version = str(_json(read_member(archive, "metadata.json", source, _DAMAGED), source).get("keras_version"))
    else:
        content, version = _read_hdf5(path)
    _check_code(content, source)
    return content, version


def read_model(path: Path) -> tuple[Any, str]:
    """Load a whole model, and say which version of Keras wrote it.

    Raises:
        PretrainedModelError: As for :func:`read_config`, or this version of Keras cannot read it.
    """
    content, version = read_config(path)
    keras = import_keras()
    try:
        with quiet_keras():
            model = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # whatever Keras stumbles over
        raise _explain(error, str(path), version, content) from error
    return model, version


def model_from_config(content: Mapping[str, Any], source: str, version: str = "") -> Any:
    """Build a model with new weights from its configuration.

    Raises:
        PretrainedModelError: It names code of its own, or this version of Keras cannot build it.
    """
    _check_code(content, source)
    keras = import_keras()
    try:
        with quiet_keras():
            return keras.models.model_from_json(json.dumps(content))
    except Exception as error:
        raise _explain(error, source, version, content) from error


def _check_place(path: Path) -> None:
    source = str(path)
    if path.is_dir():
        saved = (path / "saved_model.pb").is_file()
        message = "this is a TensorFlow SavedModel" if saved else "this is a folder, not a file of Keras"
        remedy = "in TensorFlow, load it with Keras and save it as one file: model.save('model.keras')"
        raise PretrainedModelError(message, source=source, remedy=remedy)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        near = [str(one) for one in sorted(folder.glob("*")) if one.suffix in SUFFIXES][:20]
        remedy = did_you_mean(source, near) if near else "check the path; it is taken from where you run ngp"
        raise PretrainedModelError("there is no such file", source=source, remedy=remedy)
    if path.name.endswith(".weights.h5"):
        raise _only_weights(source)


def _only_weights(source: str) -> PretrainedModelError:
    return PretrainedModelError(
        "this file holds weights alone, and they do not say which network they are of",
        source=source,
        remedy=f"{_SAVE_AGAIN}; or, for a network of keras.applications, keras:NAME with the option weights: {source}",
    )


def _read_hdf5(path: Path) -> tuple[dict[str, Any], str]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = {key: file.attrs.get(key) for key in ("model_config", "keras_version")}
    except (OSError, RuntimeError, KeyError) as error:
        raise PretrainedModelError(f"this is no HDF5 file ({error})", source=str(path), remedy=_DAMAGED) from error
    texts = {
        key: value.decode("utf-8", "replace") if isinstance(value, bytes) else value for key, value in found.items()
    }
    if not texts["model_config"]:
        raise _only_weights(str(path))
    return _json(texts["model_config"], str(path)), str(texts["keras_version"] or "unknown")


def _json(text: str | bytes, source: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"its configuration is not readable JSON ({error})"
        raise PretrainedModelError(message, source=source, remedy=_DAMAGED) from error
    if not isinstance(content, dict):
        message = f"its configuration is a {type(content).__name__}"
        raise PretrainedModelError(message, source=source, remedy=_DAMAGED)
    return content


def _check_code(content: Mapping[str, Any], source: str) -> None:
    """Refuse Lambda layers and whatever comes from elsewhere than Keras."""
    problems = []
    found = list(dict.fromkeys(_objects(content)))
    layers = any(kind == "Lambda" for _, kind, _ in found)
    for name, kind, module in found:
        if kind == "__lambda__" and layers:  # what one of those layers holds
            continue
        if kind in ("Lambda", "__lambda__"):
            problems.append(Problem(f"{_LAMBDA}: {name or kind}", source, _LAMBDA_REMEDY))
        elif kind == "TFOpLambda" or kind.startswith("SlicingOpLambda"):
            message = f"{name or kind} is an operation of TensorFlow inside a model of Keras 2"
            problems.append(Problem(message, source, _LAMBDA_REMEDY))
        elif module is not None and module != "keras" and not module.startswith("keras."):
            message = f"{kind} is the author's own ({module}), not a part of Keras"
            problems.append(Problem(message, source, _CUSTOM_REMEDY))
    raise_problems(problems, PretrainedModelError, f"{len(problems)} parts of this model cannot be used")


def _objects(content: Any) -> Iterator[tuple[str, str, str | None]]:
    """Yield name, class and module of everything that a configuration would make."""
    waiting = [content]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            if isinstance(found.get("class_name"), str):
                config = found.get("config")
                name = config.get("name") if isinstance(config, Mapping) else config if isinstance(config, str) else ""
                registered = str(found.get("registered_name") or "")
                module = found.get("module")
                if ">" in registered and not registered.startswith("keras"):
                    module = registered.partition(">")[0]
                yield str(name or ""), found["class_name"], None if module is None else str(module)
            waiting.extend(found.values())
        elif isinstance(found, list | tuple):
            waiting.extend(found)


def _explain(error: Exception, source: str, version: str, content: Mapping[str, Any]) -> NewGamePlusError:
    """Say why Keras cannot read a model: code of its own, another version, or damage."""
    if isinstance(error, NewGamePlusError):
        return error
    keras = import_keras()
    said = " ".join(str(error).split())[:300] or type(error).__name__
    kind = str(content.get("class_name"))
    if any(mark in str(error) for mark in ("Could not locate", "custom_objects", "Unknown layer", "register_keras")):
        message = f"Keras {keras.__version__} does not know a part of this model ({said})"
        return PretrainedModelError(message, source=source, remedy=_CUSTOM_REMEDY)
    if version not in ("", "None", "unknown", keras.__version__):
        newer = _newer(version, str(keras.__version__))
        update = f'pip install -U "keras>={version}", or ' if newer else ""
        if version.startswith("2."):
            update = "load it with the package tf-keras and save it as model.save('model.h5'), which Keras 3 reads; or "
        message = f"Keras {version} wrote this {kind} file, and Keras {keras.__version__} cannot read it ({said})"
        return PretrainedModelError(
            message, source=source, remedy=f"{update}{_SAVE_AGAIN} with Keras {keras.__version__}"
        )
    return PretrainedModelError(f"Keras cannot read this model ({said})", source=source, remedy=_DAMAGED)


def _newer(version: str, than: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(part) if part.isdigit() else 0 for part in text.split(".")[:3]]

    return numbers(version) > numbers(than)
