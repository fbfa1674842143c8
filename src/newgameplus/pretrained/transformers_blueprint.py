"""Which Transformers network a configuration describes, and what it takes; the library itself kept quiet."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import inspect
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from newgameplus.errors import MissingExtraError, NewGamePlusError, PretrainedModelError

__all__ = [
    "Blueprint",
    "broken_torchvision",
    "explained",
    "import_transformers",
    "quiet",
    "read_blueprint",
    "read_config",
]

_CLASSIFIERS = ("MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING")
_BACKBONES = "MODEL_FOR_BACKBONE_MAPPING"
_PIXEL_INPUTS = ("pixel_values", "pixel_values_videos")


@dataclass(frozen=True)
class Blueprint:
    """What is to be built.

    Attributes:
        config: The library's configuration object.
        network_class: The library's class to build.
        classifier: The checkpoint brings a head.
        video: The network takes clips as a whole; else frame by frame.
        channels: Channels of a frame, 1 or 3.
        pooler: Build the part behind the last hidden state that some backbones have.
        image_size: Height and width that the configuration names.
        frames: Frames that the configuration names.
        labels: Class names in the order of the logits; empty if the configuration names none.
        arguments: Names of all arguments that the class's ``__init__`` and ``forward`` take.
    """

    config: Any
    network_class: Any
    classifier: bool
    video: bool
    channels: int
    pooler: bool
    image_size: tuple[int, int] | None
    frames: int | None
    labels: tuple[str, ...]
    arguments: frozenset[str]

    @property
    def family(self) -> str:
        """The library's name for the architecture."""
        return str(self.config.model_type)

    @property
    def class_name(self) -> str:
        """Name of the network's class."""
        return str(self.network_class.__name__)


def import_transformers() -> Any:
    """Import Transformers.

    Raises:
        MissingExtraError: It is not installed.
        PretrainedModelError: A broken torchvision stands beside it, which breaks all of its vision networks.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import transformers
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "transformers"
        raise MissingExtraError("transformers", "transformers", "" if missing else str(error)) from error
    if why := broken_torchvision():
        raise PretrainedModelError(
            f"torchvision is installed but broken ({why}), and so are all vision networks of Transformers",
            source="extra 'transformers'",
            remedy="pip uninstall torchvision (New Game+ does not need it)",
        )
    return transformers


def broken_torchvision() -> str:
    """Return why an installed torchvision cannot be imported; empty if it can, or if there is none.

    The wheel on PyPI is linked against CUDA, so beside a CPU build of torch its import fails.
    """
    if importlib.util.find_spec("torchvision") is None:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchvision  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except Exception as error:  # noqa: BLE001 - a broken binary may raise anything
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ""


def read_blueprint(
    content: Mapping[str, Any], weight_names: frozenset[str], *, source: str, pooler: bool | None = None
) -> Blueprint:
    """Find out from a configuration which network is to be built.

    Args:
        content: What config.json says.
        weight_names: Names of the tensors in the weights files; empty if there are none.
        source: Where the configuration is from, for messages.
        pooler: Whether the checkpoint has weights for a pooler; ``None`` looks for it in ``weight_names``.

    Raises:
        PretrainedModelError: It is no image or video network, or this version of Transformers does not know it.
    """
    library = import_transformers()
    config = read_config(library, content, source)
    network_class, config, classifier = _network_class(library, config, content, source)
    if getattr(config, "mask_ratio", 0.0):
        config.mask_ratio = 0.0  # a masked autoencoder must see the whole picture to describe it
    channels = getattr(config, "num_channels", None) or getattr(config, "in_chans", None) or 3
    if channels not in (1, 3):
        raise PretrainedModelError(
            f"this network takes {channels} channels; New Game+ has grey (1) or colour (3) frames",
            source=source,
            remedy="choose a network for pictures",
        )
    modalities = getattr(network_class, "input_modalities", ())
    video_types = library.models.auto.modeling_auto.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING
    arguments = {
        *inspect.signature(network_class.__init__).parameters,
        *inspect.signature(network_class.forward).parameters,
    }
    return Blueprint(
        config=config,
        network_class=network_class,
        classifier=classifier,
        video="video" in ((modalities,) if isinstance(modalities, str) else modalities) or type(config) in video_types,
        channels=channels,
        pooler=any("pooler" in name for name in weight_names) if pooler is None else pooler,
        image_size=_pair(getattr(config, "image_size", None) or getattr(config, "crop_size", None)),
        frames=getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None),
        labels=tuple(str(label) for _, label in sorted((config.id2label or {}).items())),
        arguments=frozenset(arguments),
    )


def read_config(library: Any, content: Mapping[str, Any], source: str) -> Any:
    """Turn what config.json says into the library's configuration object.

    Raises:
        PretrainedModelError: This version of Transformers does not know the family, or cannot read the configuration.
    """
    family = content.get("model_type")
    known = library.CONFIG_MAPPING
    if family not in known:
        own_code = "; it brings its own code, which is never run" if "auto_map" in content else ""
        raise PretrainedModelError(
            f"Transformers {library.__version__} knows no model_type {family!r}{own_code}",
            source=source,
            remedy="choose a model of a family that Transformers has built in, or try pip install -U transformers",
        )
    with explained("this configuration cannot be read", source, "copy config.json again"), quiet():
        return known[family].from_dict(copy.deepcopy(dict(content)))


def _network_class(library: Any, config: Any, content: Mapping[str, Any], source: str) -> tuple[Any, Any, bool]:
    """Return the class, the configuration (of a two-tower model: its vision tower's), and whether there is a head."""
    auto = library.models.auto.modeling_auto
    architectures = content.get("architectures") or []
    with explained("this model's code cannot be imported", source, "pip install -U transformers"), quiet():
        for mapping in (*_CLASSIFIERS, _BACKBONES):
            for network_class in _classes(getattr(auto, mapping), config):
                if network_class.__name__ in architectures:
                    return network_class, config, mapping != _BACKBONES
        for tower in (config, getattr(config, "vision_config", None)):
            for mapping in ("MODEL_MAPPING", _BACKBONES):
                for network_class in _classes(getattr(auto, mapping), tower):
                    if network_class.main_input_name in _PIXEL_INPUTS:
                        return network_class, tower, False
    raise PretrainedModelError(
        f"{config.model_type!r} ({', '.join(architectures) or 'no architecture named'}) is not an image or video model",
        source=source,
        remedy="choose an image or video classifier or backbone, e.g. a ResNet, ViT, ConvNeXt or VideoMAE",
    )


def _classes(mapping: Any, config: Any) -> tuple[Any, ...]:
    if config is None or type(config) not in mapping:
        return ()
    found = mapping[type(config)]
    return tuple(found) if isinstance(found, (list, tuple)) else (found,)


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, (list, tuple)) and len(size) == 2 else None


@contextlib.contextmanager
def explained(message: str, source: str, remedy: str) -> Iterator[None]:
    """Turn whatever the foreign library raises into an error that says what it was doing."""
    try:
        yield
    except (NewGamePlusError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise PretrainedModelError(f"{message}: {reason}", source=source, remedy=remedy) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's progress bars, load reports and warnings off the screen; what matters is checked above."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging as library_logging

        verbosity, bars = library_logging.get_verbosity(), library_logging.is_progress_bar_enabled()
        library_logging.set_verbosity(library_logging.CRITICAL)
        library_logging.disable_progress_bar()
        try:
            yield
        finally:
            library_logging.set_verbosity(verbosity)
            if bars:
                library_logging.enable_progress_bar()
