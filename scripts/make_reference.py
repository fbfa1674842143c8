"""Write docs/reference/api.md from docstrings, and docs/reference/recipe.md from the schemas of the scenarios' recipes.

python scripts/make_reference.py [--check]
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from newgameplus.recipe import SCHEMAS

ROOT = Path(__file__).parents[1]
MODULES = (
    "newgameplus.verbs",
    "newgameplus.finetune",
    "newgameplus.run",
    "newgameplus.sweep",
    "newgameplus.recipe",
    "newgameplus.deploy.prediction",
    "newgameplus.deploy.generation",
    "newgameplus.deploy.playing",
    "newgameplus.deploy.recording",
    "newgameplus.deploy.export",
    "newgameplus.deploy.export_formats",
    "newgameplus.deploy.export_parity",
    "newgameplus.scenarios.choosing",
    "newgameplus.scenarios.pretraining",
    "newgameplus.choose.candidates",
    "newgameplus.choose.estimating",
    "newgameplus.choose.ranking",
    "newgameplus.choose.scores",
    "newgameplus.choose.prior",
    "newgameplus.choose.advice",
    "newgameplus.scenarios.agent_surgery",
    "newgameplus.scenarios.agent_strength",
    "newgameplus.scenarios.check_scenes",
    "newgameplus.games.record.doom",
    "newgameplus.games.clips",
    "newgameplus.games.video",
    "newgameplus.games.cache",
    "newgameplus.games.splits",
    "newgameplus.games.trajectories",
    "newgameplus.games.sequences",
    "newgameplus.games.sequence_formats",
    "newgameplus.games.scenes",
    "newgameplus.games.formats",
    "newgameplus.games.formats.document",
    "newgameplus.games.stacking",
    "newgameplus.games.meanings",
    "newgameplus.games.measures",
    "newgameplus.games.conditions",
    "newgameplus.games.pictures",
    "newgameplus.games.rules",
    "newgameplus.games.rules.contract",
    "newgameplus.games.rules.platformer",
    "newgameplus.games.rules.top_down",
    "newgameplus.games.rules.sokoban",
    "newgameplus.games.rules.reachability",
    "newgameplus.games.rules.own",
    "newgameplus.games.generators",
    "newgameplus.spaces",
    "newgameplus.games.environment_contract",
    "newgameplus.games.environments",
    "newgameplus.games.environment_making",
    "newgameplus.games.environment_check",
    "newgameplus.games.episodes",
    "newgameplus.games.demonstrations",
    "newgameplus.games.demonstration_formats",
    "newgameplus.games.record.environment",
    "newgameplus.pretrained.policy",
    "newgameplus.pretrained.policy_shape",
    "newgameplus.pretrained.policy_network",
    "newgameplus.pretrained.action_distribution",
    "newgameplus.pretrained.policy_sources",
    "newgameplus.pretrained.policy_sb3",
    "newgameplus.pretrained.policy_checkpoint",
    "newgameplus.pretrained.backbone",
    "newgameplus.pretrained.card",
    "newgameplus.pretrained.catalog",
    "newgameplus.pretrained.transformers",
    "newgameplus.pretrained.keras",
    "newgameplus.pretrained.torchvision",
    "newgameplus.pretrained.timm",
    "newgameplus.pretrained.checkpoint",
    "newgameplus.pretrained.run",
    "newgameplus.pretrained.sequence",
    "newgameplus.pretrained.licences",
    "newgameplus.pretrained.memory",
    "newgameplus.adapt.classifier",
    "newgameplus.adapt.phases",
    "newgameplus.adapt.strategies",
    "newgameplus.adapt.adapters",
    "newgameplus.adapt.averaging",
    "newgameplus.adapt.tile_strategies",
    "newgameplus.adapt.vocabulary",
    "newgameplus.adapt.surgery",
    "newgameplus.adapt.surgery_text",
    "newgameplus.adapt.surgery_plan",
    "newgameplus.adapt.surgery_proof",
    "newgameplus.adapt.surgery_training",
    "newgameplus.train.cloning",
    "newgameplus.train.policy_optimization",
    "newgameplus.train.retention",
    "newgameplus.train.loop",
    "newgameplus.train.game_augment",
    "newgameplus.train.pretraining",
    "newgameplus.train.processes",
    "newgameplus.train.tile_loop",
    "newgameplus.train.self_training",
    "newgameplus.evaluate.metrics",
    "newgameplus.evaluate.intervals",
    "newgameplus.evaluate.comparison",
    "newgameplus.evaluate.across_runs",
    "newgameplus.evaluate.returns",
    "newgameplus.evaluate.agent_arms",
    "newgameplus.evaluate.agent_evaluation",
    "newgameplus.evaluate.strength",
    "newgameplus.evaluate.scene_evaluation",
    "newgameplus.evaluate.scene_metrics",
    "newgameplus.evaluate.scene_baselines",
    "newgameplus.evaluate.scene_runs",
    "newgameplus.errors",
)


def api() -> str:
    """Return the reference of the public modules."""
    parts = ["# Reference\n\nMade from docstrings by `scripts/make_reference.py`; do not edit by hand.\n"]
    for name in MODULES:
        module = importlib.import_module(name)
        parts.append(f"## `{name}`\n\n{_indented(inspect.getdoc(module))}\n")
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if inspect.isclass(value) or inspect.isfunction(value):
                parts.append(_entry(public, value))
    return "\n".join(parts)


def _entry(name: str, value: Any) -> str:
    text = f"### `{name}{_signature(value)}`\n\n{_indented(inspect.getdoc(value))}\n"
    if inspect.isclass(value):
        for method, member in vars(value).items():
            inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if not method.startswith("_") and inspect.isfunction(inner) and inner.__doc__:
                text += f"\n#### `{name}.{method}{_signature(inner)}`\n\n{_indented(inspect.getdoc(inner))}\n"
    return text


def _signature(value: Any) -> str:
    if inspect.isclass(value) and issubclass(value, BaseException | BaseModel):
        return ""
    try:
        return re.sub(r" at 0x[0-9a-f]+", "", str(inspect.signature(value)).replace("'", ""))
    except (TypeError, ValueError):
        return ""


def _indented(text: str | None) -> str:
    return "```text\n" + (text or "").strip() + "\n```"


def recipe_keys() -> str:
    """Return the tables of all recipe keys, one for each scenario."""
    lines = [
        "# Recipe keys",
        "",
        "Made from the schemas by `scripts/make_reference.py`; do not edit by hand. The key `scenario` says which",
        "table a recipe follows; without it, it is a recipe of the behavior scenario.",
    ]
    for scenario, schema in SCHEMAS.items():
        lines += ["", f"## `scenario: {scenario}`", "", "| key | default | what |", "|---|---|---|", *_rows(schema, "")]
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> list[str]:
    rows = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += _rows(field.annotation, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)}`"
        what = " ".join((field.description or "").replace("``", "`").split()).replace("|", "\\|")
        rows.append(f"| `{prefix}{name}` | {default} | {what} |")
    return rows


def main() -> None:
    """Write both files, or say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    check = parser.parse_args().check
    for path, content in (("api.md", api()), ("recipe.md", recipe_keys())):
        target = ROOT / "docs" / "reference" / path
        if not check:
            target.write_text(content, encoding="utf-8")
        elif target.read_text(encoding="utf-8") != content:
            sys.exit(f"{target} is out of date: run python scripts/make_reference.py")


if __name__ == "__main__":
    main()
