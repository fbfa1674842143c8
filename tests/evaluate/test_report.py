"""The report: whole, safe, self-contained, and the same for the same data."""

from __future__ import annotations

import base64
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
from newgameplus.evaluate.comparison import Arm, compare
from newgameplus.evaluate.figures import learning_curves
from newgameplus.evaluate.report import render_report, write_report
from newgameplus.evaluate.strips import Strip, choose_strips, make_strips, strip_png

VOID = {"meta", "img", "br"}


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
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in VOID:
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


def history() -> list[dict[str, Any]]:
    rows = []
    for arm, phases in (("fine-tuned", ["head"] * 3 + ["all"] * 4), ("scratch", ["all"] * 7)):
        for epoch, phase in enumerate(phases):
            rows.append(
                {
                    "arm": arm,
                    "phase": phase,
                    "epoch": epoch,
                    "step": 7 * (epoch + 1),
                    "train_loss": 2.0 / (epoch + 1),
                    "validation_loss": 2.1 / (epoch + 1),
                    "validation_accuracy": 0.1 * epoch,
                }
            )
    return rows


def full(make_arms: Any, labels: list[str] | None = None, classes: int = 4, clips: int = 240) -> str:
    arms = make_arms(labels=labels, classes=classes, clips=clips)
    frames = np.random.default_rng(0).integers(0, 256, (clips, 6, 60, 80, 1)).astype(np.uint8)
    return render_report(
        compare(arms, skipped={"probe": "the strategy is a probe"}, resamples=200),
        title="doom <b>actions</b>",
        recipe_yaml="labels: ['<script>alert(1)</script>']  # ${title} $x\n",
        environment={"python": "3.11", "packages": {"torch": "2.13.0"}, "cores": ["<a>", 2]},
        history=history(),
        strips=make_strips(arms[0].predictions, frames),
        left_out=["clips/<b>.mp4: truncated"],
    )


def test_everything_is_there(make_arms: Any) -> None:
    html = full(make_arms)
    page = Page(html)
    for said in (
        "Fine-tuning helped",
        "above the best baseline (zero-shot",
        "random forest",
        "did not run: the strategy is a probe",
        "Confusion matrix",
        "taken for",
        "calibration error",
        "validation accuracy",
        "packages.torch",
        "clips/<b>.mp4: truncated",
        "labels: ['<script>alert(1)</script>']  # ${title} $x",
    ):
        assert said in page.text, said
    assert page.tags["svg"] == 3
    assert page.tags["img"] >= 12


def test_it_loads_nothing_and_runs_nothing(make_arms: Any) -> None:
    page = Page(full(make_arms))
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == 0
    assert all(value.startswith("data:image/png;base64,") for value in page.values("src"))
    assert all(value.startswith("#") for name in ("href", "xlink:href") for value in page.values(name))
    html = full(make_arms)
    assert not re.search(r"@import|url\((?!#)", html)


def test_ids_are_unique_and_references_resolve(make_arms: Any) -> None:
    html = full(make_arms)
    ids = Counter(Page(html).values("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    referred = re.findall(r'href="#([^"]+)"', html) + re.findall(r"url\(#([^)]+)\)", html)
    assert set(referred) <= set(ids)
    assert set(re.findall(r'aria-labelledby="([^"]+)"', html)) <= set(ids)


def test_it_can_be_read_without_seeing_it(make_arms: Any) -> None:
    html = full(make_arms)
    page = Page(html)
    assert (
        len([1 for tag, name, value in page.attributes if (tag, name) == ("img", "alt") and value]) == page.tags["img"]
    )
    assert page.values("scope").count("col") >= 4 + 6 + 10
    assert page.values("scope").count("row") >= 4 + 4 + 5
    assert html.count('role="img"') == page.tags["svg"]
    assert page.values("lang") == ["en"]


@pytest.mark.parametrize("classes", [2, 8, 40])
def test_hostile_and_many_class_names(make_arms: Any, classes: int) -> None:
    labels = [
        "<script>alert(1)</script>",
        "跳跃 & \"quotes\" 'n' $x ${y}",
        "x" * 200,
        "a\x00b\x1b[31m\udc80",
        *map(str, range(36)),
    ]
    html = full(make_arms, labels=labels[:classes], classes=classes, clips=400)
    page = Page(html)
    assert page.tags["script"] == 0
    assert "<script>alert(1)</script>" in page.text
    assert "跳跃 & \"quotes\" 'n' $x ${y}" in page.text
    assert not re.search(r"[\x00-\x08\x1b\ud800-\udfff]", html)
    assert len(html.encode("utf-8")) < 3_000_000
    html.encode("utf-8")


def test_the_same_data_give_the_same_bytes(make_arms: Any) -> None:
    assert full(make_arms) == full(make_arms)


def test_a_bare_evaluation_is_enough(make: Any, tmp_path: Path) -> None:
    evaluation = compare([Arm("fine-tuned", "fine-tuned", "fine-tuned", make(clips=3, groups=1))], resamples=20)
    write_report(tmp_path / "report.html", json.loads(json.dumps(evaluation)))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "No verdict" in page.text
    assert "only 3 test clips" in page.text


def test_perfect_answers_say_so(make: Any) -> None:
    evaluation = compare([Arm("fine-tuned", "fine-tuned", "fine-tuned", make(skill=50.0))], resamples=20)
    assert "It made no mistake." in render_report(evaluation)


def test_a_place_that_cannot_be_written_is_told(make: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    evaluation = compare([Arm("fine-tuned", "f", "fine-tuned", make())], resamples=20)
    with pytest.raises(StorageError, match="file"):
        write_report(tmp_path / "file" / "report.html", evaluation)


def test_curves_leave_out_what_is_not_a_number() -> None:
    rows = history()
    rows[2]["validation_loss"] = float("nan")
    rows[3]["validation_accuracy"] = None
    del rows[4]["train_loss"]
    figures = learning_curves(rows)
    assert set(figures) == {"accuracy", "loss"}
    assert "nan" not in figures["loss"].lower()
    assert learning_curves([]) == {}
    assert set(learning_curves([{"step": 1, "train_loss": 1.0}])) == {"loss"}


def test_names_of_arms_are_drawn_as_they_are() -> None:
    rows = [
        {"arm": name, "step": step, "validation_accuracy": 0.5} for name in ("跳跃 $x^2$", "a<b>&") for step in (1, 2)
    ]
    svg = learning_curves(rows)["accuracy"]
    Page(svg)
    assert "跳跃 $x^2$" in svg
    assert "a&lt;b&gt;&amp;" in svg


def test_curves_use_the_colours_of_the_page() -> None:
    figures = learning_curves(history())
    for svg in figures.values():
        assert "var(--series-1)" in svg
        assert "var(--ink)" in svg
        assert "#0a0" not in svg
    assert "scratch, training ends at" in figures["loss"]
    assert ">scratch, training<" not in figures["loss"]
    assert ">head<" in figures["accuracy"]
    assert ">all<" in figures["accuracy"]


def test_strips_show_every_kind_of_mistake_before_a_second_of_one(make: Any) -> None:
    predictions = make(skill=1.0)
    chosen = choose_strips(predictions, wrong=12, right=4)
    wrong = [i for i in chosen if predictions.predicted[i] != predictions.targets[i]]
    assert len(wrong) == 12
    assert chosen[:12].tolist() == wrong
    assert len({(predictions.targets[i], predictions.predicted[i]) for i in wrong}) == 12
    assert {int(predictions.targets[i]) for i in chosen[12:]} == {0, 1, 2, 3}
    first = wrong[0]
    same_kind = (predictions.targets == predictions.targets[first]) & (
        predictions.predicted == predictions.predicted[first]
    )
    assert predictions.probabilities.max(1)[first] == predictions.probabilities.max(1)[same_kind].max()
    assert choose_strips(make(skill=50.0)).size == 8


def picture(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((6, 60, 80, 1), (490, 60)),
        ((16, 224, 224, 3), (586, 96)),
        ((1, 30, 40, 3), (40, 30)),
        ((2, 1, 1000, 1), (194, 1)),
    ],
)
def test_strips_have_the_size_they_should(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    assert picture(strip_png(np.zeros(shape, dtype=np.uint8))).size == size


def test_frames_stand_in_order_and_keep_their_grey() -> None:
    frames = np.stack([np.full((10, 10, 1), value, dtype=np.uint8) for value in (0, 100, 200)])
    drawn = np.asarray(picture(strip_png(frames)))
    assert [int(drawn[5, x]) for x in (5, 17, 29)] == [0, 100, 200]


def test_a_strip_knows_whether_it_is_right() -> None:
    frames = np.zeros((1, 2, 2, 1), dtype=np.uint8)
    assert Strip(frames, "a", "a", 0.9, "c").right
    assert not Strip(frames, "a", "b", 0.9, "c").right
