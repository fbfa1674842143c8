"""The part of a report that tells how the start was chosen: every candidate with scores, short run and cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from newgameplus.evaluate.sections import text

__all__ = ["choice_section"]

_HEADS = ("Candidate", "Weights", "Prior rank", "Neighbours", "LogME", "Short run", "Answer", "Fit", "Memory")
_NONE = "\u2013"


def choice_section(evaluation: Mapping[str, Any]) -> str:
    """Return the table of candidates, or nothing where there was no choice.

    Args:
        evaluation: The evaluation of a run; its ``choice`` is what :meth:`newgameplus.choose.Choice.as_dict` gave.
    """
    choice = evaluation.get("choice")
    if not choice or "by_prior" not in choice or not choice["candidates"]:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    rows = "".join(_row(one, choice) for one in choice["candidates"])
    left_out = "".join(f"<li>{text(one['name'])}: {text(one['message'])}</li>" for one in choice["left_out"])
    missing = f"<p class='quiet'>Left out:</p><ul class='errors'>{left_out}</ul>" if left_out else ""
    return f"""<section class="card"><h2>How the start was chosen</h2><p>{text(choice["reason"])}.</p>
<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>
<p class="quiet">Estimates, but for the short run and the time of an answer, which were measured. The prior rank goes by
the card alone; neighbours and LogME look at frozen features of training clips; the short run was judged on training
groups held out from it.</p><p>{text(choice["advice"])}</p>{missing}</section>"""


def _row(one: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    run, cost = one["short_run"], one["cost"]
    values = (
        f"{one['parameters']:,}",
        choice["by_prior"].index(one["name"]) + 1 if one["name"] in choice["by_prior"] else _NONE,
        *(f"{one['scores'][name]:.3f}" if name in one["scores"] else _NONE for name in ("knn", "logme")),
        f"{run['value']:.3f} ({run['low']:.2f} to {run['high']:.2f})" if run else _NONE,
        f"{cost['latency_seconds'] * 1000:.1f} ms" if cost else _NONE,
        f"{cost['fit_seconds']:.0f} s" if cost else _NONE,
        f"{cost['fit_bytes'] / 1e6:.0f} MB" if cost else _NONE,
    )
    cells = "".join(f"<td>{text(value)}</td>" for value in values)
    return f'<tr><th scope="row">{text(one["name"])}</th>{cells}</tr>'
