"""``report.html`` of the agent scenario: what was gained and what was forgotten, in five seconds, and then the rest.

One file with pictures, videos, figures and styles inside; it loads nothing and runs no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from newgameplus import __version__
from newgameplus.evaluate import agent_report_sections as parts
from newgameplus.evaluate.agent_report_media import Film, Video, films_section
from newgameplus.evaluate.sections import details, text
from newgameplus.files import write_text

__all__ = ["Film", "Video", "render_agent_report", "write_agent_report"]


def render_agent_report(
    evaluation: Mapping[str, Any],
    *,
    title: str = "",
    recipe_yaml: str = "",
    environment: Mapping[str, Any] | None = None,
    films: Sequence[Film] = (),
    videos: Sequence[Video] = (),
    left_out: Sequence[object] = (),
) -> str:
    """Return a report as HTML; the arguments are those of :func:`write_agent_report`."""
    sections = [
        parts.verdict_card(evaluation),
        parts.forgetting(evaluation),
        films_section(films, videos),
        parts.games(evaluation),
        parts.learning(evaluation),
        parts.spread(evaluation),
        parts.strength(evaluation.get("strength")),
        parts.retention(evaluation.get("retention")),
        parts.surgery(evaluation.get("surgery")),
        details(recipe_yaml, environment or {}, left_out),
    ]
    package = files("newgameplus.evaluate")
    styles = [package.joinpath(name).read_text(encoding="utf-8").strip() for name in ("report.css", "agent_report.css")]
    return Template(package.joinpath("report.html").read_text(encoding="utf-8")).substitute(
        title=text(title or "Game AI report"),
        style="\n".join(styles),
        sections="\n".join(section for section in sections if section),
        version=text(__version__),
    )


def write_agent_report(
    path: Path,
    evaluation: Mapping[str, Any],
    *,
    title: str = "",
    recipe_yaml: str = "",
    environment: Mapping[str, Any] | None = None,
    films: Sequence[Film] = (),
    videos: Sequence[Video] = (),
    left_out: Sequence[object] = (),
) -> None:
    """Write a report as one HTML file.

    Args:
        path: The file to write.
        evaluation: As ``agent_evaluation.compare_agents`` makes it, or as read back from ``evaluation.json``. Three
            keys of it are only shown: ``retention`` (see :func:`agent_report_sections.retention`), ``surgery`` (see
            :func:`agent_report_sections.surgery`) and ``strength`` (see :meth:`strength.StrengthCurve.table`).
        title: What the report is about, such as the run's name.
        recipe_yaml: The resolved recipe.
        environment: Versions, seed, hardware; nested plain data.
        films: Episodes to show as strips of frames, the most telling first.
        videos: Videos to show; with the strips, at most 6 MB go into the file.
        left_out: Files that could not be used, each as text or a ``Problem``.

    Raises:
        StorageError: There is no space or no permission.
    """
    content = render_agent_report(
        evaluation,
        title=title,
        recipe_yaml=recipe_yaml,
        environment=environment,
        films=films,
        videos=videos,
        left_out=left_out,
    )
    write_text(path, content)
