"""Tiny games to learn from."""


def register() -> None:
    """Register."""
