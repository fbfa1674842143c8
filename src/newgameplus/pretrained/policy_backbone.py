"""What sources share that bring an encoder for one part of the observation and leave the rest to the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_request import PolicyRequest, build_network, shape_of
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec, PartKind

__all__ = ["build_with_backbone", "choose_part"]


def choose_part(
    kind: PartKind, wanted: str | None, request: PolicyRequest, name: str
) -> tuple[ObservationPart, ObservationSpec, ActionSpec]:
    """Find the part that a brought encoder is for.

    Args:
        kind: What it can see.
        wanted: Name of the part, if the user gave one.
        request: The game.
        name: Full name of the source, for messages.

    Raises:
        PretrainedModelError: There is no such part, or more than one and none was named.
    """
    observations, actions = request.spaces(name)
    fitting = [part for part in observations.parts if part.kind == kind]
    names = [part.name for part in fitting]
    if wanted is not None and wanted not in names:
        remedy = did_you_mean(str(wanted), names) if names else f"the game shows no {kind}"
        raise PretrainedModelError(f"no {kind} part is called {wanted!r}", source="model.options", remedy=remedy)
    if wanted is None and len(fitting) != 1:
        shown = ", ".join(f"{part.name} ({part.kind})" for part in observations.parts)
        raise PretrainedModelError(
            f"{name!r} sees a part of kind {kind}, and the game shows {len(fitting) or 'none'} of them: {shown}",
            source=request.source_key,
            remedy=f"name one: options: {{part: {names[0]}}}"
            if names
            else f"take another start, or a game with {kind}",
        )
    return fitting[names.index(wanted) if wanted is not None else 0], observations, actions


def build_with_backbone(
    name: str,
    request: PolicyRequest,
    backbone: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    facts: Mapping[str, Any],
) -> Policy:
    """Build a policy of the recipe's settings around a brought encoder, and give it the weights it brought.

    Args:
        name: Full name of the source.
        request: The game and the recipe's settings.
        backbone: As :class:`newgameplus.pretrained.policy_shape.PolicyShape` keeps it; ``part`` names the part.
        modules: Modules whose weights go into those of the same name in the encoder.
        facts: For the card.
    """
    observations, actions = request.spaces(name)
    shape = replace(shape_of(request.settings, observations, actions), backbone=dict(backbone))
    network = build_network(shape, request.seed)
    number = observations.names.index(str(backbone["part"]))
    for encoders in (network.encoders, network.critic_encoders):
        if len(encoders):
            for key, module in modules.items():
                encoders[number].get_submodule(key).load_state_dict(module.state_dict())
    return Policy(name, network, request.environment, {"seed": request.seed, **facts})
