"""The Keras library itself: imported on its torch backend, kept quiet, and its refusals put into plain words."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from newgameplus.errors import MissingExtraError, PretrainedModelError

__all__ = ["import_keras", "quiet_keras", "seeded_keras", "without_weights"]

_BACKEND = "KERAS_BACKEND"
_OLDEST = 3
_TO_BE_MADE = "uninitialized_variables"


def import_keras() -> Any:
    """Import Keras on its torch backend.

    Raises:
        MissingExtraError: It is not installed.
        PretrainedModelError: It runs on another backend already, or it is older than Keras 3.
    """
    if "keras" not in sys.modules:
        os.environ[_BACKEND] = "torch"  # read once, on import; the file keras.json would decide otherwise
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import keras
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "keras"
        raise MissingExtraError("keras", "keras", "" if missing else str(error)) from error
    version = str(getattr(keras, "__version__", "0"))
    if int(version.split(".")[0]) < _OLDEST:
        raise PretrainedModelError(
            f"this is Keras {version}, which knows TensorFlow alone",
            source="extra 'keras'",
            remedy='pip install -U "keras>=3.10"',
        )
    backend = keras.config.backend()
    if backend != "torch":
        raise PretrainedModelError(
            f"Keras was imported on the backend {backend!r} before New Game+ could choose torch",
            source=_BACKEND,
            remedy="set the environment variable KERAS_BACKEND=torch before anything imports keras",
        )
    return keras


@contextlib.contextmanager
def quiet_keras() -> Iterator[None]:
    """Keep Keras's warnings and prints off the screen, and pictures in the order that its files have."""
    keras = import_keras()
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        keras.config.set_image_data_format(before)


@contextlib.contextmanager
def seeded_keras() -> Iterator[None]:
    """Let Keras draw new weights by torch's global random state: it takes its seeds from Python's."""
    import torch

    seed = int(torch.randint(2**31, (1,)))
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Let Keras build models of shapes alone, whose weights are never made."""
    keras = import_keras()
    from keras.src.backend.common import global_state

    with keras.StatelessScope(initialize_variables=False):
        yield
    # Keras keeps a list of what is still to be made, and would make it all on the next occasion.
    global_state.set_global_attribute(_TO_BE_MADE, [])
