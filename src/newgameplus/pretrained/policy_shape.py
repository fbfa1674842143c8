"""How a policy network is built, as plain data: enough to build it again without asking where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from newgameplus.spaces import ActionSpec, ObservationSpec

__all__ = ["Activation", "EncoderKind", "PolicyShape"]

EncoderKind = Literal["auto", "flatten", "mlp", "nature-cnn", "impala-cnn", "small-cnn", "transformer"]
Activation = Literal["tanh", "relu", "leaky-relu", "elu", "gelu", "silu"]


@dataclass(frozen=True)
class PolicyShape:
    """The blueprint of a :class:`newgameplus.pretrained.policy_network.PolicyNetwork`.

    Attributes:
        observations: What it sees.
        actions: What it answers.
        encoder: How parts become features. ``auto`` flattens vectors and choices, takes ``nature-cnn`` for images of
            36 pixels a side or more, ``small-cnn`` for smaller ones and grids, ``transformer`` for tokens; any other
            applies to the parts that it fits, the rest go by ``auto``.
        features: Width of the features of an encoded image, grid or sequence.
        trunk: Widths of layers between the encoders and the memory (or the two branches).
        memory: Recurrent layer behind the trunk.
        memory_width: Its width.
        actor: Widths of the hidden layers that only the actor has.
        critic: Widths of the hidden layers that only the critic has.
        share: Whether actor and critic share encoders and trunk; the memory is shared always.
        activation: Of trunk, actor and critic.
        normalize: Whether vectors are brought to zero mean and unit variance by statistics kept with the weights.
        log_scale: First log standard deviation of continuous actions.
        options: What an encoder of its own kind needs (transformer: ``layers``, ``heads``; small-cnn and impala-cnn:
            ``channels``; small-cnn: ``padding``). ``parts`` holds, by name, what only one part needs: ``encoder`` and
            ``features`` of its own, ``scale`` (what an image's intensities are multiplied with instead of 1 / high) and
            ``numbers`` (true takes the codes of a grid as numbers, not one-hot). ``normalized`` names the vectors that
            are normalized (all, if it is missing), ``clip`` says at how many deviations they are cut off (10).
        backbone: Name of an encoder that is made by a source (:mod:`newgameplus.pretrained.policy_encoders`), and what
            that needs to build it again; empty for the encoders named above.
    """

    observations: ObservationSpec
    actions: ActionSpec
    encoder: EncoderKind = "auto"
    features: int = 128
    trunk: tuple[int, ...] = ()
    memory: Literal["none", "gru", "lstm"] = "none"
    memory_width: int = 128
    actor: tuple[int, ...] = (64, 64)
    critic: tuple[int, ...] = (64, 64)
    share: bool = True
    activation: Activation = "tanh"
    normalize: bool = True
    log_scale: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)
    backbone: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a card."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        content |= {name: list(content[name]) for name in ("trunk", "actor", "critic")}
        content |= {name: dict(content[name]) for name in ("options", "backbone")}
        return content | {"observations": self.observations.as_dict(), "actions": self.actions.as_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PolicyShape:
        """Read back what :meth:`as_dict` gave."""
        tuples = {name: tuple(content[name]) for name in ("trunk", "actor", "critic")}
        specs = {
            "observations": ObservationSpec.from_dict(content["observations"]),
            "actions": ActionSpec.from_dict(content["actions"]),
        }
        return cls(**{**content, **tuples, **specs})
