"""``report.html``: one file that shows a person in five seconds whether fine-tuning helped, and then everything else.

Pictures, figures and styles are inside the file; it loads nothing and runs no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from newgameplus import __version__
from newgameplus.evaluate import sections
from newgameplus.evaluate.choice_section import choice_section
from newgameplus.evaluate.strips import Strip
from newgameplus.files import write_text

__all__ = ["render_report", "write_report"]


def render_report(
    evaluation: Mapping[str, Any],
    *,
    title: str = "",
    recipe_yaml: str = "",
    environment: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    strips: Sequence[Strip] = (),
    left_out: Sequence[object] = (),
) -> str:
    """Return a report as HTML; the arguments are those of :func:`write_report`."""
    package = files("newgameplus.evaluate")
    parts = [
        sections.verdict_card(evaluation),
        sections.mistakes(evaluation),
        sections.strips(strips),
        sections.arms_table(evaluation),
        sections.learning(history, evaluation),
        sections.calibration(evaluation),
        choice_section(evaluation),
        sections.details(recipe_yaml, environment or {}, left_out),
    ]
    return Template(package.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        title=sections.text(title or "Fine-tuning report"),
        style=package.joinpath("report.css").read_text(encoding="utf-8").strip(),
        sections="\n".join(part for part in parts if part),
        version=sections.text(__version__),
    )


def write_report(
    path: Path,
    evaluation: Mapping[str, Any],
    *,
    title: str = "",
    recipe_yaml: str = "",
    environment: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    strips: Sequence[Strip] = (),
    left_out: Sequence[object] = (),
) -> None:
    """Write a report as one HTML file.

    Args:
        path: The file to write.
        evaluation: As ``comparison.compare`` makes it, or as read back from ``evaluation.json``.
        title: What the report is about, such as the run's name.
        recipe_yaml: The resolved recipe.
        environment: Versions, seed, hardware; nested plain data.
        history: Rows of ``metrics.jsonl``, for the learning curves.
        strips: Answered clips with their frames; see ``strips.make_strips``.
        left_out: Files that could not be used, each as text or a ``Problem``.

    Raises:
        StorageError: There is no space or no permission.
    """
    content = render_report(
        evaluation,
        title=title,
        recipe_yaml=recipe_yaml,
        environment=environment,
        history=history,
        strips=strips,
        left_out=left_out,
    )
    write_text(path, content)
