"""The checks of ``ngp doctor`` for the extras that bring pretrained models: Keras, torchvision and timm."""

from __future__ import annotations

from newgameplus.doctor import CHECKS, Check
from newgameplus.doctor_games import extra_version
from newgameplus.errors import NewGamePlusError

__all__ = ["check_keras", "check_vision"]


def check_keras(name: str) -> Check:
    """Keras computes on its torch backend (only an extra: its networks and files need it)."""
    version = extra_version("keras")
    if version is None:
        found = "not installed: keras.applications and .keras files cannot be used"
        return Check(name, "warning", found, CHECKS[name].remedy)
    from newgameplus.pretrained.keras_library import import_keras

    try:
        keras = import_keras()
    except NewGamePlusError as error:
        return Check(name, "warning", error.message, error.remedy)
    import torch

    with keras.device("cpu"):
        right = bool((keras.layers.ReLU()(torch.tensor([[-1.0, 2.0]])) == torch.tensor([[0.0, 2.0]])).all())
    if not right:
        return Check(name, "warning", f"Keras {version} computes wrongly on torch", CHECKS[name].remedy)
    return Check(name, "ok", f"Keras {version} on torch")


def check_vision(name: str) -> Check:
    """Torchvision or timm can be imported (only extras: their models need them)."""
    version = extra_version(name)
    if version is None:
        return Check(name, "ok", f"not installed, and only models of {name}:... need it")
    from newgameplus.pretrained.vision_extras import import_vision

    try:
        import_vision(name)
    except NewGamePlusError as error:
        return Check(name, "warning", error.message, error.remedy)
    return Check(name, "ok", version)
