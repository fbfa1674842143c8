"""A Keras model before it becomes a backbone: where it comes from, what it eats, and where its features come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained import keras_applications
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.keras_files import model_from_config, read_config, read_model
from newgameplus.pretrained.keras_library import import_keras
from newgameplus.pretrained.pixel_backbone import FRAMES_OF_IMAGE_MODELS
from newgameplus.pretrained.preprocessing import Preprocessing, read_preprocessing
from newgameplus.shapes import ClipShape

__all__ = ["FoundModel", "clip_shape", "cut", "from_applications", "from_file"]

_SIZE = 224
_TRUNK = "trunk"
_FRAMES_OF_VIDEO_MODELS = 16
# Kind: mean and spread of each channel, and what a pixel is multiplied by before.
_PREPROCESSINGS: dict[str, tuple[tuple[float, ...], tuple[float, ...], float]] = {
    "raw": ((0.0,) * 3, (1.0,) * 3, 1.0),
    "unit": ((0.0,) * 3, (1.0,) * 3, 1 / 255),
    "tf": ((1.0,) * 3, (1.0,) * 3, 1 / 127.5),
    "caffe": ((103.939, 116.779, 123.68), (1.0,) * 3, 1.0),
    "torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1 / 255),
}


@dataclass(frozen=True)
class FoundModel:
    """A Keras model and what is known of it.

    Attributes:
        model: The whole model.
        family: Its architecture.
        preprocessing: What it eats; its size is filled in later.
        description: Where it comes from.
        labels: Class names of its head; empty if nobody knows them.
        assumed: Nothing says what it eats.
    """

    model: Any
    family: str
    preprocessing: Preprocessing
    description: str
    labels: tuple[str, ...] = ()
    assumed: bool = False


def from_applications(name: str, settings: Mapping[str, Any], *, fresh: bool) -> FoundModel:
    """Build a network of keras.applications.

    Raises:
        PretrainedModelError: There is no such network, or its weights cannot be had.
    """
    weights, top = str(settings["weights"]), settings["top"]
    if name not in keras_applications.applications():
        known = keras_applications.applications()
        remedy = did_you_mean(name, known) + "; or the path of a .keras or .h5 file"
        raise PretrainedModelError(f"keras.applications has no network {name!r}", source=f"keras:{name}", remedy=remedy)
    usual = keras_applications.usual_size(name)
    size = (settings["height"] or usual[0], settings["width"] or usual[1])
    if top is None:
        top = size == usual
    if weights not in (keras_applications.IMAGENET, keras_applications.NONE) and not Path(weights).is_file():
        message = f"weights is {weights!r}, which is no file"
        raise PretrainedModelError(message, source="model.options.weights", remedy="give imagenet, none or a file")
    model = keras_applications.build_application(
        name,
        weights=keras_applications.NONE if fresh else weights,
        top=bool(top),
        size=None if top and size == usual else size,
    )
    named = "random weights" if weights == keras_applications.NONE else f"weights {weights}"
    labels = keras_applications.imagenet_labels() if top else ()
    preprocessing = _asked_for(settings, 3) or keras_applications.preprocessing_of(name, size)
    return FoundModel(model, name.lower(), preprocessing, f"{name} of keras.applications, {named}", labels)


def from_file(path: Path, settings: Mapping[str, Any], *, weightless: bool) -> FoundModel:
    """Read a model from a file.

    Args:
        path: The file.
        settings: Options of the source.
        weightless: Its configuration alone is enough.

    Raises:
        PretrainedModelError: The file cannot be used.
    """
    if weightless:
        content, version = read_config(path)
        model = model_from_config(content, str(path), version)
    else:
        model, version = read_model(path)
    _check_graph(model, str(path))
    channels = _channels(model, str(path))[0]
    asked = _asked_for(settings, channels)
    guessed = asked or _guess(model, channels)
    preprocessing = guessed or _kind("unit", channels)
    family = next(iter(_known_networks(model)), "keras")
    described = f"{path.name}, written by Keras {version}"
    return FoundModel(model, family, preprocessing, described, assumed=guessed is None)


def cut(model: Any, source: str) -> tuple[Any, Any]:
    """Return the model without its head, and the head: its last dense layer, or None without one.

    An activation behind the dense layer goes with it.
    """
    keras = import_keras()
    layer, inputs = _origin(model.outputs[0])
    if isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
        layer, inputs = _origin(inputs[0])
    if not isinstance(layer, keras.layers.Dense) or len(inputs) != 1 or len(inputs[0].shape) != 2:
        return keras.Model(model.inputs, model.outputs, name=_TRUNK), None
    if inputs[0] is model.inputs[0]:
        raise PretrainedModelError(
            "this model is one dense layer: there is nothing before its head", source=source, remedy="choose another"
        )
    return keras.Model(model.inputs, inputs[0], name=_TRUNK), layer


def clip_shape(found: FoundModel, settings: Mapping[str, Any]) -> tuple[str, ClipShape]:
    """Return layout and shape of the clips that a model takes; what it leaves open is what was asked for.

    Raises:
        PretrainedModelError: It takes another size than the one asked for.
    """
    source = found.description
    channels, layout = _channels(found.model, source)
    fixed = list(found.model.inputs[0].shape)[1:]
    sides = fixed[-2:] if layout == "chw" else fixed[-3:-1]
    frames = fixed[0] if layout == "thwc" else None
    usual = (found.preprocessing.height or _SIZE, found.preprocessing.width or _SIZE)
    wanted = {"frames": settings["frames"], "height": settings["height"], "width": settings["width"]}
    for key, value in zip(wanted, (frames, *sides), strict=True):
        if value is not None and wanted[key] not in (None, value):
            raise PretrainedModelError(
                f"{key} is {wanted[key]}, but this model takes {value}",
                source=source,
                remedy=f"leave out the option {key}",
            )
    many = _FRAMES_OF_VIDEO_MODELS if layout == "thwc" else FRAMES_OF_IMAGE_MODELS
    return layout, ClipShape(
        wanted["frames"] or frames or many,
        wanted["height"] or sides[0] or usual[0],
        wanted["width"] or sides[1] or usual[1],
        channels,
    )


def _check_graph(model: Any, source: str) -> None:
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs or not hasattr(model, "to_json"):
        raise PretrainedModelError(
            "this model has no graph of layers (it was written as a class, or never built)",
            source=source,
            remedy="build it with keras.Input and layers (functional or Sequential), and save it again",
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise PretrainedModelError(
            f"this model has {len(inputs)} inputs and {len(outputs)} outputs",
            source=source,
            remedy="save a model of one picture (or clip) and one answer: keras.Model(input, output)",
        )


def _channels(model: Any, source: str) -> tuple[int, str]:
    """Return how many channels a model takes, and where it has them."""
    shape = tuple(model.inputs[0].shape)
    if len(shape) == 5 and shape[-1] in (1, 3):
        return int(shape[-1]), "thwc"
    if len(shape) == 4 and shape[-1] in (1, 3):
        return int(shape[-1]), "hwc"
    if len(shape) == 4 and shape[1] in (1, 3):
        return int(shape[1]), "chw"
    raise PretrainedModelError(
        f"this model takes inputs of shape {shape}; New Game+ has grey (1) or colour (3) frames",
        source=source,
        remedy="choose a model of pictures, [batch, height, width, 1 or 3], or of clips",
    )


def _asked_for(settings: Mapping[str, Any], channels: int) -> Preprocessing | None:
    """Return the preprocessing that the options set, if they do."""
    kind = settings["preprocessing"]
    if kind is not None and kind not in _PREPROCESSINGS:
        message = f"no preprocessing is called {kind!r}"
        raise PretrainedModelError(
            message, source="model.options.preprocessing", remedy=did_you_mean(str(kind), _PREPROCESSINGS)
        )
    if settings["mean"] is None and settings["std"] is None:
        return None if kind is None else _kind(str(kind), channels)
    return read_preprocessing(
        {"do_normalize": False} if settings["mean"] is None or settings["std"] is None else None,
        channels=channels,
        default_size=(_SIZE, _SIZE),
        source="model.options",
        mean=settings["mean"],
        std=settings["std"],
    )


def _kind(kind: str, channels: int) -> Preprocessing:
    """Return one of the usual preprocessings, for colour or, averaged, for grey."""
    mean, std, factor = _PREPROCESSINGS[kind]
    if channels == 1:
        mean, std = (sum(mean) / 3,), (sum(std) / 3,)
    return Preprocessing(0, 0, factor, 0.0, mean, std, reverse_channels=kind == "caffe" and channels == 3)


def _guess(model: Any, channels: int) -> Preprocessing | None:
    """Tell from a model's layers what it eats: one that scales pixels itself takes them raw."""
    keras = import_keras()
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    first = _first_operation(model)
    if any(isinstance(layer, scaling) for layer in _layers(model)) or not isinstance(first, keras.layers.Layer):
        return _kind("raw", channels)
    for name in _known_networks(model):
        if channels == 3:
            spelt = next(one for one in keras_applications.applications() if one.lower() == name)
            return replace(keras_applications.preprocessing_of(spelt, (1, 1)), height=0, width=0)
    return None


def _known_networks(model: Any) -> list[str]:
    """Return which networks of keras.applications stand in a model, by the names of their parts."""
    keras = import_keras()
    known = sorted((name.lower() for name in keras_applications.applications()), key=len, reverse=True)
    named = [str(layer.name).lower() for layer in (model, *_layers(model)) if isinstance(layer, keras.Model)]
    found = (next((one for one in known if name.replace("_", "").startswith(one)), None) for name in named)
    return [name for name in found if name is not None]


def _layers(model: Any) -> list[Any]:
    """Return all layers, also those of models within."""
    found = []
    for layer in getattr(model, "layers", ()):
        found += [layer, *_layers(layer)]
    return found


def _first_operation(model: Any) -> Any:
    entry = id(model.inputs[0])
    layers = [layer for layer in getattr(model, "operations", model.layers) if hasattr(layer, "_inbound_nodes")]
    for layer in layers:
        for node in layer._inbound_nodes:
            if any(id(tensor) == entry for tensor in node.input_tensors):
                return layer
    return model.layers[0]


def _origin(tensor: Any) -> tuple[Any, list[Any]]:
    """Return the operation that a tensor of the graph comes from, and what it was given."""
    history = tensor._keras_history
    return history.operation, list(history.operation._inbound_nodes[history.node_index].input_tensors)
