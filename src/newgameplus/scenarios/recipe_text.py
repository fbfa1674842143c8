"""Names and texts as the recipes that `ngp init` writes may hold them."""

from __future__ import annotations

import json

__all__ = ["one_line", "plain_name", "quoted"]


def one_line(text: str) -> str:
    """Return a text that stays on one line of a comment, whatever is in it."""
    return text if text.isprintable() else repr(text)


def plain_name(text: str, default: str = "run", longest: int | None = None) -> str:
    """Return the name of a run that is like a text: letters, digits, and ``_.-``, not begun by a dot or a dash.

    Args:
        text: What to call the run.
        default: Its name if the text is empty.
        longest: Most characters that are taken of the text; None takes all.
    """
    kept = "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in text)[:longest] or default
    return kept if kept[0].isalnum() or kept[0] == "_" else f"run{kept}"


def quoted(text: str) -> str:
    """Write text so that YAML reads it as the same text, whatever is in it."""
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)
