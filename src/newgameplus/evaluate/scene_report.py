"""``report.html`` of the scene scenario: whether the new levels are good, in five seconds, and then the levels.

One file with pictures, figures and styles inside; it loads nothing and runs no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from newgameplus import __version__
from newgameplus.evaluate import scene_report_sections as parts
from newgameplus.evaluate.scene_report_pictures import Shrinker
from newgameplus.evaluate.scene_report_samples import SampleCard, requests_of, sheets
from newgameplus.evaluate.sections import details, text
from newgameplus.files import write_text

__all__ = ["SampleCard", "render_scene_report", "write_scene_report"]

_PICTURE_BUDGET = 5_500_000
"""Bytes of all pictures together, so that the file stays under 8 MB."""


def render_scene_report(
    evaluation: Mapping[str, Any],
    *,
    title: str = "",
    recipe_yaml: str = "",
    environment: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    samples: Sequence[SampleCard] = (),
    tiles: Sequence[Mapping[str, Any]] = (),
    left_out: Sequence[object] = (),
) -> str:
    """Return a report as HTML; the arguments are those of :func:`write_scene_report`."""
    shown = sheets(samples, Shrinker(_PICTURE_BUDGET))
    sections = [
        parts.verdict_card(evaluation),
        shown.get("delivered", ""),
        shown.get("edit", ""),
        shown.get("worst", ""),
        shown.get("raw", ""),
        parts.raw_table(evaluation),
        parts.delivery_table(evaluation),
        parts.copies(evaluation),
        parts.control(evaluation, requests_of(samples)),
        parts.style(evaluation),
        parts.learning(evaluation, history),
        parts.tile_mapping(tiles or evaluation.get("tiles") or ()),
        shown.get("training", ""),
        details(recipe_yaml, environment or {}, left_out),
    ]
    package = files("newgameplus.evaluate")
    styles = [package.joinpath(name).read_text(encoding="utf-8").strip() for name in ("report.css", "scene_report.css")]
    return Template(package.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        title=text(title or "Level generation report"),
        style="\n".join(styles),
        sections="\n".join(section for section in sections if section),
        version=text(__version__),
    )


def write_scene_report(
    path: Path,
    evaluation: Mapping[str, Any],
    *,
    title: str = "",
    recipe_yaml: str = "",
    environment: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    samples: Sequence[SampleCard] = (),
    tiles: Sequence[Mapping[str, Any]] = (),
    left_out: Sequence[object] = (),
) -> None:
    """Write a report as one HTML file of at most 8 MB.

    Args:
        path: The file to write.
        evaluation: As the scene evaluation makes it, or as read back from ``evaluation.json``; any number may be
            missing.
        title: What the report is about, such as the run's name.
        recipe_yaml: The resolved recipe.
        environment: Versions, seed, hardware; nested plain data.
        history: Rows of ``metrics.jsonl``, losses in bits per tile.
        samples: Levels to show; those that do not fit into the budget are named without a picture.
        tiles: Where each tile started from: ``{"name", "meanings", "from", "similarity"}``; the evaluation's if empty.
        left_out: Files that could not be used, each as text or a ``Problem``.

    Raises:
        StorageError: There is no space or no permission.
    """
    content = render_scene_report(
        evaluation,
        title=title,
        recipe_yaml=recipe_yaml,
        environment=environment,
        history=history,
        samples=samples,
        tiles=tiles,
        left_out=left_out,
    )
    write_text(path, content)
