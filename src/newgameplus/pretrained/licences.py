"""What a model's licence says about the use that a recipe names: forbidden, unclear, or fine.

Licences are named as in model cards: SPDX identifiers (``cc-by-nc-4.0``) and the Hugging Face Hub's own names
(``bigscience-openrail-m``). This reads names, not texts, and is no legal advice: it stops what is plainly forbidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from newgameplus.errors import Problem

__all__ = ["USES", "caution", "forbidden", "use_problem"]

Use = Literal["any", "research", "commercial"]
USES: tuple[Use, ...] = ("any", "research", "commercial")
"""Uses that a recipe can name; ``any`` asks nothing."""

#: Parts of names that say "not for money".
_NON_COMMERCIAL = {"nc", "noncommercial"}
#: Parts of names that say "for research only": Apple's and Intel's research licences among them.
_RESEARCH_ONLY = {"research", "academic", "amlr"}
_NO_DERIVATIVES = {"nd", "noderivatives", "noderivs"}
#: Families whose texts restrict some uses or some users, but not all commercial ones.
_CONDITIONS = {
    "openrail": "its text forbids a list of uses, and has to be passed on",
    "rail": "its text forbids a list of uses, and has to be passed on",
    "llama": "its text sets conditions for large companies and for some uses",
    "gemma": "its text forbids a list of uses, and has to be passed on",
}
_UNNAMED = ("", "unknown", "other", "none", "noassertion")


def forbidden(licence: str, use: str) -> str | None:
    """Return why a licence forbids a use, or None if it does not plainly do so.

    Args:
        licence: SPDX identifier or the hub's name.
        use: ``any``, ``research`` or ``commercial``.
    """
    if use != "commercial":
        return None
    parts = _parts(licence)
    if _NON_COMMERCIAL & parts or {"non", "commercial"} <= parts:
        return "it allows no commercial use"
    if _RESEARCH_ONLY & parts:
        return "it allows research only"
    if _NO_DERIVATIVES & parts:
        return "it allows no derived works to be passed on, and a fine-tuned model is one"
    return None


def caution(licence: str, use: str) -> str | None:
    """Return what to look up before a use, or None if there is nothing; never for ``any``.

    Args:
        licence: SPDX identifier or the hub's name.
        use: ``any``, ``research`` or ``commercial``.
    """
    if use == "any" or forbidden(licence, use) is not None:
        return None
    if licence.strip().casefold() in _UNNAMED:
        return "its licence is not known; look it up where the model came from"
    if use == "commercial" and (found := _first_family(_parts(licence))):
        return f"its licence is {licence}: {_CONDITIONS[found]}"
    return None


def use_problem(name: str, licence: str, use: str) -> Problem | None:
    """Return the problem of a model whose licence forbids the use set in a recipe, or None.

    Args:
        name: The model's full name.
        licence: Its licence.
        use: The recipe's ``model.use``.
    """
    why = forbidden(licence, use)
    if why is None:
        return None
    message = f"{name} stands under {licence}, and the recipe says use: {use}; {why}"
    return Problem(message, "model.use", "start from another model (ngp models --use commercial lists some)")


def _parts(licence: str) -> set[str]:
    return {part for part in re.split(r"[^a-z]+", licence.casefold()) if part}


def _first_family(parts: Iterable[str]) -> str | None:
    return next((family for family in _CONDITIONS for part in parts if part.startswith(family)), None)
