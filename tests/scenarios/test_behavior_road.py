"""The whole road for clips: fit, evaluate, predict, compare, resume, on real videos."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.recordings import LABELS, record

from newgameplus.adapt.saving import load_classifier
from newgameplus.errors import DataError, NewGamePlusError, RunError, SplitLeakError
from newgameplus.recipe import Recipe
from newgameplus.run import Run, read_json
from newgameplus.verbs import check, compare, evaluate, fit, init, predict, resume

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "clips", videos=10, seed=0)


def make_recipe(clips: Path, **parts: Any) -> Recipe:
    content: dict[str, Any] = {
        "data": {"path": str(clips), "test": 0.4, "validation": 0.15},
        "train": {"epochs": 12, "batch_size": 16, "threads": 1},
    }
    for key, value in parts.items():
        content[key] = content.get(key, {}) | value if isinstance(value, dict) else value
    return Recipe.model_validate(content)


@pytest.fixture(scope="module")
def finished(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(make_recipe(clips), tmp_path_factory.mktemp("runs") / "first")


def test_a_run_holds_all_that_a_user_keeps(finished: Run) -> None:
    kept = {path.name for path in finished.folder.iterdir()} - {".lock"}
    assert kept == {
        "recipe.yaml",
        "environment.json",
        "model",
        "metrics.jsonl",
        "tb",
        "evaluation.json",
        "predictions.json",
        "report.html",
        "log.txt",
    }
    assert not list(finished.folder.rglob("*.pt"))
    assert not list(finished.folder.rglob("*.pkl"))
    assert "doom-clips" in (finished.folder / "recipe.yaml").read_text()
    assert list((finished.folder / "tb").rglob("events*"))
    assert "training fine-tuned" in (finished.folder / "log.txt").read_text()


def test_every_baseline_is_in_the_table_or_says_why_not(finished: Run) -> None:
    evaluation = json.loads((finished.folder / "evaluation.json").read_text())
    arms = {arm["name"]: arm for arm in evaluation["arms"]}
    assert set(arms) == {"fine-tuned", "majority", "random-forest", "probe", "scratch"}
    assert "no two class names match" in evaluation["skipped"]["zero-shot"]
    assert arms["scratch"]["steps"] >= arms["fine-tuned"]["steps"] * 0.5
    assert arms["probe"]["trainable_parameters"] < arms["fine-tuned"]["trainable_parameters"]
    assert evaluation["verdict"]["sentence"]
    assert evaluation["groups"] == 4


def test_it_learns_far_above_chance(finished: Run) -> None:
    evaluation = json.loads((finished.folder / "evaluation.json").read_text())
    fine_tuned = next(arm for arm in evaluation["arms"] if arm["name"] == "fine-tuned")
    assert fine_tuned["metrics"]["accuracy"]["value"] > 0.7


def test_the_saved_model_answers_as_it_did_in_the_fit(finished: Run, clips: Path, tmp_path: Path) -> None:
    predictions = json.loads((finished.folder / "predictions.json").read_text())["fine-tuned"]
    again = evaluate(finished.folder, clips)
    kept = json.loads(Path(again["written_to"]).read_text())["predictions"]["fine-tuned"]
    place = {clip: index for index, clip in enumerate(kept["clips"])}
    for clip, expected in zip(predictions["clips"], predictions["probabilities"], strict=True):
        assert np.allclose(kept["probabilities"][place[clip]], expected, atol=1e-4)


def test_groups_that_a_run_was_trained_on_are_never_called_unseen(finished: Run, clips: Path, tmp_path: Path) -> None:
    again = evaluate(finished.folder, clips)
    assert again["clips"] == 36
    assert again["groups"] == 4
    assert again["trained_on"] == 54
    assert any("trained on" in caution for caution in again["cautions"])
    seen = tmp_path / "seen"
    shutil.copytree(clips, seen)
    tested = {clip.split("#")[0] for clip in read_json(finished.folder / "predictions.json")["fine-tuned"]["clips"]}
    lines = (seen / "labels.csv").read_text().splitlines()
    (seen / "labels.csv").write_text("\n".join(line for line in lines if line.split(",")[0] not in tested) + "\n")
    with pytest.raises(DataError, match="trained on clips of every group"):
        evaluate(finished.folder, seen)


def test_other_clips_are_evaluated_and_nothing_is_overwritten(finished: Run, tmp_path: Path) -> None:
    other = record(tmp_path / "other clips", videos=3, seed=9)
    first, second = evaluate(finished.folder, other), evaluate(finished.folder, other)
    assert first["written_to"] != second["written_to"]
    assert first["clips"] == 27
    assert first["arms"][0]["metrics"]["accuracy"]["value"] > 0.6
    text = (other / "labels.csv").read_text()
    (other / "labels.csv").write_text(text.replace("stands", "flies"))
    with pytest.raises(DataError, match="flies"):
        evaluate(finished.folder, other)


def test_prediction_names_what_happens_when(finished: Run, tmp_path: Path) -> None:
    other = record(tmp_path / "new", videos=1, seed=4, spans=6)
    video = other / "video 0.mp4"
    rows = [line.split(",") for line in (other / "labels.csv").read_text().split("\n")[1:] if line]
    answers = predict(finished.folder, video, hop=0.1)
    assert answers[0].start == 0.0
    assert answers[-1].end == pytest.approx(3.0, abs=0.05)
    assert all(one.end == other.start for one, other in itertools.pairwise(answers))
    assert all(0.0 < answer.probability <= 1.0 for answer in answers)
    right = 0
    for _, label, start, end in rows:
        middle = (float(start) + float(end)) / 2
        right += next(a.label for a in answers if a.start <= middle < a.end) == label
    assert right >= 4
    singles = predict(finished.folder, [video], hop=0.1, join=False)
    assert len(singles) >= len(answers)
    with pytest.raises(DataError, match="hop is -1"):
        predict(finished.folder, video, hop=-1.0)
    with pytest.raises(DataError, match="nowhere"):
        predict(finished.folder, tmp_path / "nowhere.mp4")


def test_runs_are_compared_clip_by_clip(finished: Run, clips: Path, tmp_path: Path) -> None:
    recipe = make_recipe(clips, adapt={"strategy": "probe"}, evaluate={"baselines": ["majority"]})
    other = fit(recipe, tmp_path / "probe")
    comparison = compare([finished.folder, other.folder])
    assert comparison["clips"] == 36
    assert (
        comparison["runs"][1]["difference"]["accuracy"]["low"]
        <= comparison["runs"][1]["difference"]["accuracy"]["high"]
    )
    assert comparison["sentence"]


def test_a_second_fit_and_a_second_resume_are_refused(finished: Run, clips: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="nothing is overwritten"):
        fit(make_recipe(clips), finished.folder)
    with pytest.raises(RunError, match="nothing to resume"):
        resume(finished.folder)
    assert before == {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*") if path.is_file()}


def test_a_changed_model_file_is_noticed(finished: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished.folder, copy)
    weights = copy / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(RunError, match="not those of the card"):
        load_classifier(copy / "model")


COMMAND = [sys.executable, "-m", "newgameplus.cli"]


def run_ngp(*words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, cwd=ROOT, timeout=timeout, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_fit_killed_in_every_phase_ends_the_same(
    clips: Path, finished: Run, tmp_path: Path, kind: signal.Signals
) -> None:
    """Kill ``ngp`` at random moments, resume until it is done, and compare with the uninterrupted run."""
    recipe = tmp_path / "recipe.yaml"
    text = (finished.folder / "recipe.yaml").read_text()
    recipe.write_text(text.replace("checkpoint_seconds: 60.0", "checkpoint_seconds: 0.05"))
    folder = tmp_path / "run"
    environment = os.environ | {"NGP_CACHE": str(tmp_path / "cache")}
    generator = np.random.default_rng(int(kind))
    kills = 0
    for _ in range(40):
        if (folder / "evaluation.json").exists():
            break
        started = (folder / "recipe.yaml").exists()
        words = ["resume", str(folder)] if started else ["fit", str(recipe), "--out", str(folder)]
        with subprocess.Popen(
            [*COMMAND, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment
        ) as child:
            limit = time.monotonic() + float(generator.uniform(1.5, 3.5))
            while child.poll() is None and time.monotonic() < limit:
                time.sleep(0.02)
            if child.poll() is None and kills < 5:
                child.send_signal(kind)
                kills += 1
            child.wait(240)
            # Interrupted before main() began, Python dies of the signal itself: to a shell that is 130, too.
            if kind == signal.SIGINT and child.returncode not in (0, 130, -signal.SIGINT):
                pytest.fail(f"exit code {child.returncode} after Ctrl-C")
    assert kills >= 2
    # The checkpoint interval is the only difference between the two recipes.
    one, other = (load_classifier(path / "model").classifier.state_dict() for path in (finished.folder, folder))
    assert all(np.array_equal(one[name].numpy(), other[name].numpy()) for name in one)
    first, second = (json.loads((path / "predictions.json").read_text()) for path in (finished.folder, folder))
    assert first == second
    drop = ("seconds",)
    rows = [
        [{k: v for k, v in row.items() if k not in drop} for row in run.metrics()]
        for run in (finished, Run.open(folder))
    ]
    key = lambda row: (row["arm"], row["step"], row["phase"])  # noqa: E731
    assert sorted(rows[0], key=key) == sorted(rows[1], key=key)


def test_one_class_only_is_told(clips: Path, tmp_path: Path) -> None:
    only = tmp_path / "one"
    shutil.copytree(clips, only)
    lines = (only / "labels.csv").read_text().splitlines()
    (only / "labels.csv").write_text("\n".join(line for line in lines if "goes" not in line) + "\n")
    with pytest.raises(NewGamePlusError, match="one class"):
        init("behavior", only)


def test_copies_across_a_split_name_both_files(clips: Path, tmp_path: Path) -> None:
    doubled = tmp_path / "doubled"
    shutil.copytree(clips, doubled)
    shutil.copy(doubled / "video 0.mp4", doubled / "copy.mp4")
    lines = (doubled / "labels.csv").read_text().splitlines()
    copies = [line.replace("video 0.mp4", "copy.mp4") for line in lines if line.startswith("video 0.mp4")]
    (doubled / "labels.csv").write_text("\n".join([*lines, *copies]) + "\n")
    recipe = make_recipe(doubled, data={"test_groups": ["copy"]})
    with pytest.raises(SplitLeakError) as caught:
        fit(recipe, tmp_path / "run")
    assert "copy.mp4" in str(caught.value)
    assert "video 0.mp4" in str(caught.value)


def test_check_says_what_a_fit_costs_and_trains_nothing(clips: Path, tmp_path: Path) -> None:
    plan = check(make_recipe(clips))
    assert plan["split"] == {"train": 45, "validation": 9, "test": 36}
    assert plan["classes"] == dict.fromkeys(LABELS, 30)
    assert plan["estimated_seconds"] > 0
    assert plan["estimated_memory_bytes"] > 2**20
    assert not list(tmp_path.iterdir())


def test_check_reports_all_problems_at_once(clips: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(clips, bad)
    (bad / "video 1.mp4").write_bytes(b"")
    (bad / "video 2.mp4").write_bytes((bad / "video 2.mp4").read_bytes()[:300])
    with pytest.raises(NewGamePlusError) as caught:
        check(make_recipe(bad, model={"start": "bundled:dom-clips"}))
    told = str(caught.value)
    assert "video 1.mp4" in told
    assert "video 2.mp4" in told
    assert "doom-clips" in told


def test_skip_bad_fits_with_the_rest_and_says_what_was_left_out(clips: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(clips, bad)
    (bad / "video 1.mp4").write_bytes(b"")
    with pytest.raises(DataError, match="skip"):
        fit(make_recipe(bad), tmp_path / "refused")
    recipe = make_recipe(bad, data={"skip_bad": True}, train={"epochs": 2}, evaluate={"baselines": ["majority"]})
    run = fit(recipe, tmp_path / "run")
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    assert len(evaluation["left_out"]) == 9
    assert "video 1.mp4" in json.dumps(evaluation["left_out"])


def test_fewer_labels_are_drawn_in_proportion(clips: Path, tmp_path: Path) -> None:
    recipe = make_recipe(clips, data={"max_labels": 12}, train={"epochs": 2}, evaluate={"baselines": ["majority"]})
    run = fit(recipe, tmp_path / "run")
    split = json.loads((run.folder / "evaluation.json").read_text())["split"]
    assert split["train"] + split["validation"] == 12
    with pytest.raises(DataError, match="max_labels 2"):
        fit(make_recipe(clips, data={"max_labels": 2}), tmp_path / "too few")


def test_the_better_of_two_models_is_chosen_on_the_training_clips(clips: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    recipe = make_recipe(
        clips,
        model={"start": [f"transformers:{tmp_path / 'vit'}", "bundled:doom-clips"]},
        train={"epochs": 2},
        evaluate={"baselines": ["majority"]},
    )
    run = fit(recipe, tmp_path / "run")
    choice = json.loads((run.folder / "evaluation.json").read_text())["choice"]
    assert choice["name"] == "bundled:doom-clips"
    assert len(choice["candidates"]) == 2
    assert choice["candidates"][0]["scores"]["knn"] > choice["candidates"][1]["scores"]["knn"]
