"""The agent report: whole, safe, self-contained, small enough, and never stopped by what is missing."""

from __future__ import annotations

import copy
import io
import json
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.agent_players import NEW, OLD, SKILLS, evaluation

from newgameplus.errors import StorageError
from newgameplus.evaluate.agent_report import Film, Video, render_agent_report, write_agent_report
from newgameplus.evaluate.agent_report_media import films_section
from newgameplus.evaluate.agent_report_sections import retention
from newgameplus.evaluate.strength import MeasuredSetting, fit_strength

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


@cache
def _evaluated() -> dict[str, Any]:
    return evaluation()


def full() -> dict[str, Any]:
    """An evaluation with all that a report can show."""
    made = [MeasuredSetting({"t": p}, f"temperature {p}", np.array([0.0, 1.0] * 20) * p) for p in (0.1, 0.5, 1.0)]
    strength = fit_strength(made, np.zeros(40), np.array([0.0, 1.0] * 20), game=NEW, resamples=100)
    return copy.deepcopy(_evaluated()) | {
        "strength": strength.table([0.1, 0.3, 0.5, 1.0]),
        "retention": {
            "terms": [
                {"kind": "cloning", "weight": 1.0, "schedule": "linear", "until": 0.5, "batch": 256},
                {"kind": "l2-sp", "weight": 0.01, "schedule": "exponential", "until": 1.0, "batch": None},
            ],
            "states": 10_000,
        },
        "surgery": {
            "plan": "observations\n  grid: 0..3 -> 0..3",
            "largest_difference": 3.1e-8,
            "observations": 2048,
            "tolerance": 1e-6,
            "losses": ["mana was removed"],
            "notes": [],
        },
    }


def frames(count: int, side: int = 16, blank: bool = False) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.zeros((side, side, 3), np.uint8) if blank else rng.integers(0, 256, (side, side, 3), np.uint8)
            for _ in range(count)]  # fmt: skip


def gif() -> bytes:
    content = io.BytesIO()
    pictures = [Image.fromarray(frame) for frame in frames(5)]
    pictures[0].save(content, "GIF", save_all=True, append_images=pictures[1:])
    return content.getvalue()


def test_the_whole_report(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_agent_report(
        path,
        full(),
        title="runs/doorkey",
        recipe_yaml="scenario: agent\n",
        environment={"seed": 7, "versions": {"torch": "2.9"}},
        films=[Film("ours on DoorKey", frames(40)), Film("start policy", frames(3, 224))],
        videos=[Video("ours", gif()), Video("start", b"\x00\x00\x00\x20ftypisom")],
        left_out=["demos/7.npz: damaged"],
    )
    page = Page(path.read_text(encoding="utf-8"))
    for words in (
        "Fine-tuning helped", "old skill kept", "What was forgotten", "What it does", "How it learned",
        "Episode by episode", "How strong it plays", "falls evenly, gone after", "2,048", "mana was removed",
        "nearest there is", "torch", "demos/7.npz", "agrees with demonstrations",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.tags["svg"] == 7
    assert page.tags["video"] == 1
    assert path.stat().st_size < 2_000_000
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_it_loads_nothing_and_runs_nothing() -> None:
    html = render_agent_report(full(), films=[Film("a", frames(3))], videos=[Video("b", gif())])
    page = Page(html)
    assert page.tags["script"] == 0
    assert all(value.startswith(("data:", "#")) for key in ("src", "href") for value in page.values(key))
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_words_of_users_stay_words() -> None:
    text = json.dumps(full()).replace(json.dumps(NEW)[1:-1], json.dumps(NASTY)[1:-1])
    text = text.replace('"start policy"', json.dumps(NASTY))
    html = render_agent_report(
        json.loads(text), title=NASTY, recipe_yaml=NASTY, environment={NASTY: NASTY},
        films=[Film(NASTY, frames(2))], videos=[Video(NASTY, b"?")], left_out=[NASTY],
    )  # fmt: skip
    assert Page(html).tags["script"] == 0


def test_the_same_evaluation_gives_the_same_report() -> None:
    assert render_agent_report(full()) == render_agent_report(json.loads(json.dumps(full())))


@pytest.mark.parametrize("episodes", [1, 3])
def test_a_report_of_little(episodes: int) -> None:
    """One game, few episodes, no success, no seeds, no curves, no extras."""
    little = evaluation(
        {name: {NEW: games[NEW]} for name, games in SKILLS.items()}, episodes=episodes, success=False, seeds=False
    )
    for row in little["arms"]:
        row["curve"] = []
    page = Page(render_agent_report(little))
    assert "It was not measured" in page.text
    assert "How it learned" not in page.text
    assert "goal" not in page.text.split("What the columns say")[0].split("What it had to beat")[1]


def test_a_policy_that_forgot_says_so() -> None:
    page = Page(render_agent_report(evaluation(SKILLS | {"fine-tuned": {NEW: 0.9, OLD: 0.3}})))
    assert "old skill forgotten" in page.text
    assert any("--lost" in value for value in page.values("style"))


def test_negative_returns_fill_their_bars_from_zero() -> None:
    found = full()
    for row in found["arms"]:
        mean = row["games"][NEW]["mean"]
        row["games"][NEW]["mean"] = {"value": -mean["value"], "low": -mean["high"], "high": -mean["low"]}
    found["random"] = {}
    fills = [value for value in Page(render_agent_report(found)).values("style") if value.startswith("left:")]
    places = [[float(part.split(":")[1].rstrip("%")) for part in value.split(";")] for value in fills]
    assert all(left >= -0.01 and left + width <= 100.01 for left, width in places)
    assert places[0][0] + places[0][1] == pytest.approx(100)


def test_retention_in_words() -> None:
    assert retention(None) == ""
    assert "plain fine-tuning" in retention({"terms": []})
    assert "stays" in retention({"terms": [{"kind": "ewc"}]})


def test_pictures_stay_within_their_budget() -> None:
    section = films_section([Film("large", frames(8, 128)), Film("small", frames(8, 16, True))], [], budget=5_000)
    page = Page(section)
    assert page.tags["img"] == 1
    assert "no room for its frames" in page.text
    large = Page(films_section([], [Video("long", b"\x00\x00\x00\x20ftypisom" + bytes(100_000))], budget=1_000))
    assert "0.1 MB, too large" in large.text
    assert "no kind of video" in Page(films_section([], [Video("odd", b"hello")])).text
    assert films_section([], []) == ""
    assert "no room" in Page(films_section([Film("empty", [])], [])).text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_agent_report(tmp_path / "file" / "report.html", full())
