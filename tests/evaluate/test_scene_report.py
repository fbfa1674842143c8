"""The scene report: whole, safe, self-contained, small enough, and never stopped by a number that is missing."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from newgameplus.errors import StorageError
from newgameplus.evaluate.scene_report import SampleCard, render_scene_report, write_scene_report
from newgameplus.evaluate.scene_report_figures import control_figure, copy_figure, learning_figure
from newgameplus.evaluate.scene_report_pictures import Shrinker
from newgameplus.games.pictures import draw_level, png_bytes
from newgameplus.games.scenes import Level

LEVEL = Level.from_text("-" * 150 + "\n" + "X" * 60 + "--" + "X" * 88, {"-": ["empty"], "X": ["solid"]}, "level")
NASTY = '<script>alert("x")</script>&\'"\x00'


class Page(HTMLParser):
    """Checks that tags nest, and collects what a page holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


def share(value: float) -> dict[str, float]:
    return {"value": value, "low": max(0.0, value - 0.06), "high": min(1.0, value + 0.06)}


def arm(name: str, title: str, kind: str, good: float) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "kind": kind,
        "note": "22 attempts ended in a contradiction" if name == "wfc" else "",
        "raw": {
            "samples": 100,
            "playable": share(min(1.0, good + 0.01)),
            "playable_and_novel": share(min(1.0, good + 0.005)),
            "good": share(good),
            "flawed": share(0.03),
            "undecided": 0.01,
            "novelty": {"mean_distance": 812.3, "mean_share": 0.41, "novel": 0.98},
            "copied": {str(n): 0.9 / n for n in range(1, 17)},
            "diversity": 0.97,
            "mean_distance": 931.2,
            "divergence": {"2x2": 0.02, "3x3": 0.1, "4x4": 0.31},
            "measures": {"enemies": {"mean": 6.1, "training_mean": 7.2}},
            "seconds_per_level": 1.4,
        },
        "bits_per_tile": share(0.41),
        "delivered": {
            "asked": 100,
            "delivered": 99,
            "samples": 118,
            "repairs": 21,
            "samples_per_level": 1.18,
            "seconds_per_level": 1.9,
        },
        "control": {"requests": 100, "met_exactly": share(0.74), "mean_error": 0.43, "playable": share(0.96)},
        "training": {"seconds": 5400, "steps": 4000, "trainable_parameters": 1_890_432},
    }


def evaluation(title: str = "fine-tuned tile model") -> dict[str, Any]:
    return {
        "scenario": "scene",
        "rules": "platformer",
        "samples": 100,
        "confidence": 0.95,
        "training_levels": {"count": 30, "heights": [14, 14], "widths": [150, 389]},
        "held_out": 7,
        "arms": [
            arm("fine-tuned", title, "fine-tuned", 0.92),
            arm("scratch", "from scratch", "baseline", 0.7),
            arm("wfc", "wave-function collapse", "baseline", 0.3),
            arm("copy", "nearest copy", "reference", 0.0),
        ],
        "verdict": {
            "outcome": "helped",
            "sentence": "Fine-tuning helped: 0.92 of raw samples are good, 0.22 above the best baseline.",
            "against": "scratch",
            "metric": "playable_and_novel",
            "difference": share(0.22),
        },
        "tiles": [{"name": "X", "meanings": ["solid"], "from": "ground", "similarity": 0.93}],
        "notes": ["few training levels"],
    }


def history() -> list[dict[str, Any]]:
    return [
        {"arm": name, "phase": phase, "step": step, "train_loss": 3 / step, "validation_loss": 3.1 / step}
        for name in ("fine-tuned", "scratch")
        for phase, steps in (("embeddings", (1, 2)), ("all", (3, 4, 5)))
        for step in steps
    ]


def cards(text: str = "level") -> list[SampleCard]:
    png = png_bytes(draw_level(LEVEL, path=[(0, column) for column in range(150)], cell=8))
    asked, got = {"enemies": 5, "gaps": "2..4", "words": f"many {text}"}, {"enemies": 5, "gaps": 1}
    return [
        SampleCard(text, png, "", "playable", asked, got, text, 812, "delivered"),
        SampleCard("two", png, "", "playable", {"enemies": [4, 6]}, {"enemies": 7.5}, "", -1, "delivered"),
        SampleCard("bad", png, f"stuck at row 1, column 60 {text}", "unplayable", kind="worst"),
        SampleCard("fail", png, "a gap too wide", "unplayable", kind="raw"),
        SampleCard("fine", png, "", "playable", kind="raw"),
        SampleCard("own", png, kind="training"),
        SampleCard("edited", png, "", "undecided", kind="edit"),
    ]


def full(text: str = "level") -> str:
    return render_scene_report(
        evaluation(text),
        title=text,
        recipe_yaml=f"name: {text}",
        environment={"seed": 7, "hardware": {text: "2 cores"}},
        history=history(),
        samples=cards(text),
        left_out=[f"maps/{text}.tmx: hexagonal"],
    )


def test_a_report_is_one_file_that_loads_nothing_and_runs_nothing() -> None:
    html = full()
    page = Page(html)
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert all(target.startswith("#") for target in page.values("href") + page.values("xlink:href"))
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html


def test_every_section_says_what_it_should() -> None:
    page = Page(full())
    for words in (
        "Fine-tuning helped", "Delivered levels", "99 of 100", "Where it failed", "stuck at row 1, column 60",
        "What it had to beat", "What delivering took", "How much is copied", "Does it do what is asked?",
        "How it learned", "Where its tiles come from", "The designer's own levels", "Edited maps", "To do it again",
        "few training levels", "22 attempts ended in a contradiction", "14 high, 150 to 389 wide",
        "enemies 5 \u2192 5 ✓", "gaps 2..4 \u2192 1 ✗", "enemies 4..6 \u2192 7.5 ✗", "words many level",
        "nearest training level: level, 812 tiles away", "ground",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.tags["svg"] == 3
    assert page.tags["img"] == 7


def test_raw_samples_are_shown_as_they_came_failures_too() -> None:
    """Samples that were not chosen would be chosen if those that failed stood elsewhere."""
    html = full()
    failures, raw = html[html.index("Where it failed") :].split("Raw samples, not chosen")[:2]
    raw = raw[: raw.index("</section>")]
    assert "a gap too wide" in raw
    assert "<b>fine</b>" in raw
    assert "a gap too wide" not in failures


def test_bars_show_what_the_verdict_judges() -> None:
    """Good: playable, new and whole."""
    html = full()
    assert 'title="playable 0.93, new and whole too 0.92' in html


def test_what_users_write_cannot_become_html() -> None:
    html = full(NASTY)
    page = Page(html)
    assert page.tags["script"] == 0
    assert "<script" not in html
    assert "\x00" not in html
    assert 'alert("x")' in page.text


def test_the_same_data_give_the_same_page() -> None:
    assert full() == full()


def without(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(content)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def all_paths(content: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    found = []
    for key, value in entries:
        found += [(*prefix, key), *all_paths(value, (*prefix, key))]
    return found


def test_any_value_may_be_missing() -> None:
    whole = evaluation()
    whole["arms"] = whole["arms"][:1]
    whole["arms"][0]["raw"]["copied"] = {"1": None, "16": None}
    paths = [path for path in all_paths(whole) if path != ("arms", 0) and not (path[0] == "tiles" and len(path) == 2)]
    assert len(paths) > 60
    for path in paths:
        assert "What it had to beat" in render_scene_report(without(whole, path, None)) or path == ("arms",)
    assert "nan" not in Page(render_scene_report(without(whole, ("arms", 0, "raw", "diversity"), float("nan")))).text


def test_an_empty_evaluation_still_has_a_report() -> None:
    page = Page(render_scene_report({}))
    assert "No verdict" in page.text
    for outcome, words in (("no gain", "No gain"), ("worse", "made it worse"), ("undecided", "Too little data")):
        assert words in Page(render_scene_report({"verdict": {"outcome": outcome, "sentence": ""}})).text


def test_the_evaluation_may_come_back_from_json() -> None:
    assert render_scene_report(json.loads(json.dumps(evaluation()))) == render_scene_report(evaluation())


@pytest.mark.parametrize("png", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40])
def test_a_picture_that_cannot_be_read_is_said_so(png: bytes) -> None:
    page = Page(render_scene_report(evaluation(), samples=[SampleCard("odd", png)]))
    assert "cannot be shown" in page.text
    assert page.tags["img"] == 0


def test_many_large_pictures_stay_within_the_budget(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, "PNG", compress_level=1)
    shrinker = Shrinker(200_000)
    shown = [shrinker.show(content.getvalue(), share=0.3) for _ in range(12)]
    assert sum(len(picture.address) for picture in shown if picture is not None) + shrinker.left == 200_000
    assert shrinker.left >= 0
    assert all(picture is not None for picture in shown[:6])
    write_scene_report(tmp_path / "report.html", evaluation(), samples=[SampleCard("noise", content.getvalue())] * 3)
    assert (tmp_path / "report.html").stat().st_size < 8_000_000


def test_more_samples_than_fit_are_counted() -> None:
    samples = [SampleCard(f"level {n}", cards()[0].png) for n in range(30)]
    page = Page(render_scene_report(evaluation(), samples=samples))
    assert page.tags["img"] == 24
    assert "and 6 more" in page.text


def test_a_very_wide_level_is_shown_in_strips() -> None:
    wide = Level(np.zeros((5, 1_000), np.int32), LEVEL.tileset)
    shown = Shrinker(1_000_000).show(png_bytes(draw_level(wide, cell=16)))
    assert shown is not None
    assert shown.width <= 1_080
    assert shown.height > 4 * 5 * 4
    assert shown.wide
    with Image.open(io.BytesIO(base64.b64decode(shown.address.partition(",")[2]))) as image:
        assert image.size == (shown.width, shown.height)


def test_figures_without_points_are_left_out() -> None:
    assert copy_figure([]) == copy_figure([("a", [])]) == control_figure([]) == learning_figure([], {}) == ""
    assert learning_figure([{"step": 1, "train_loss": float("nan")}], {}) == ""
    by_epoch = [{"epoch": n, "validation_loss": 1 / n} for n in (1, 2, 3)]
    assert "bits per tile" in learning_figure(by_epoch, {})
    assert "<svg" in copy_figure([("_hidden $x$ <b>", [(1, 0.5), (16, 0.1)])])
    assert "<svg" in control_figure([("one", 3.0, 3.0, 3.0)] + [(f"m{n}", 0.0, 1.0, float(n)) for n in range(9)])


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_scene_report(tmp_path / "file" / "report.html", evaluation())
