"""Models leave as ONNX, answer as the torch model does on real inputs, and are refused if they do not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.deploy.exported_runs import behavior_run, policy_run, scene_run, sequence_run, tiny_transformer

from newgameplus.deploy import export_formats
from newgameplus.deploy.export_formats import onnx as onnx_format
from newgameplus.deploy.export_formats.onnx import OnnxFormat
from newgameplus.deploy.export_parity import BATCH_SIZES, check_parity
from newgameplus.errors import ExportError, MissingExtraError, NewGamePlusError, RecipeError, RunError, StorageError
from newgameplus.files import digest_file
from newgameplus.run import Run
from newgameplus.verbs import export

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def clips_run(place: Path) -> Run:
    return behavior_run(place)


@pytest.fixture(scope="module")
def policy(place: Path) -> Run:
    return policy_run(place, "policy", actor=[16, 16])


@pytest.fixture(scope="module")
def exported(clips_run: Run, place: Path) -> dict[str, Any]:
    return export(clips_run.folder, place / "out" / "actions.onnx")


def facts_of(path: Path) -> dict[str, str]:
    model = onnx.load(str(path), load_external_data=False)
    return {entry.key.removeprefix("newgameplus."): entry.value for entry in model.metadata_props}


def turn_a_square_weight(path: Path) -> None:
    """Exchange rows and columns of the largest square weight, as a faulty exporter would."""
    model = onnx.load(str(path))
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    square = [n for n, w in weights.items() if w.ndim >= 2 and w.dtype == np.float32 and w.shape[0] == w.shape[1] > 1]
    chosen = max(square, key=lambda name: weights[name].size)
    turned = np.ascontiguousarray(weights[chosen].swapaxes(0, 1))
    held = next(one for one in model.graph.initializer if one.name == chosen)
    held.CopyFrom(onnx.numpy_helper.from_array(turned, chosen))
    onnx.save(model, str(path))


@pytest.fixture
def faulty_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    write = OnnxFormat.write

    def write_and_spoil(self: OnnxFormat, model: Any, folder: Path, name: str) -> None:
        write(self, model, folder, name)
        turn_a_square_weight(folder / name)

    monkeypatch.setattr(OnnxFormat, "write", write_and_spoil)


def test_the_file_alone_answers_as_the_run_does(clips_run: Run, exported: dict[str, Any]) -> None:
    path = Path(exported["path"])
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    from newgameplus.deploy.export_models import open_exportable

    model = open_exportable(clips_run, None)
    for count in (1, 2, 5):  # other sizes than those that were checked
        clips = model.samples["clips"][:count]
        logits, probabilities = session.run(["logits", "probabilities"], {"clips": clips})
        kept = json.loads((clips_run.folder / "predictions.json").read_text())["fine-tuned"]["probabilities"]
        assert probabilities == pytest.approx(np.array(kept)[:count], abs=1e-4)
        assert logits.argmax(axis=1).tolist() == probabilities.argmax(axis=1).tolist()


def test_the_result_says_how_far_it_is_off_and_on_what(exported: dict[str, Any]) -> None:
    parity = exported["parity"]
    assert parity["samples"] == 18
    assert parity["origin"] == "test clips of the run"
    assert parity["batch_sizes"] == [1, 3, 8]
    for found in parity["outputs"].values():
        assert 0 <= found["max_difference"] <= 1e-4 * found["scale"]
        assert found["scale"] > 0


def test_labels_preprocessing_licence_and_card_travel_inside(clips_run: Run, exported: dict[str, Any]) -> None:
    facts = facts_of(Path(exported["path"]))
    assert json.loads(facts["labels"]) == ["goes_left", "goes_right", "stands"]
    assert "6 frames of 60 x 80" in facts["preprocessing"]
    assert facts["license"] == "Apache-2.0"
    assert json.loads(facts["card"])["name"] == "bundled:doom-clips"
    assert json.loads(facts["inputs"])[0]["shape"] == ["batch", 6, 60, 80, 1]
    assert float(facts["frame_rate"]) == 30
    assert facts["digest"] == digest_file(clips_run.model_folder / "model.safetensors")
    assert facts["newgameplus"]
    assert json.loads(facts["parity"])["outputs"] == exported["parity"]["outputs"]


def test_a_policy_takes_observations_and_gives_logits_and_a_value(policy: Run, tmp_path: Path) -> None:
    done = export(policy.folder, tmp_path / "policy.onnx")
    assert [one["name"] for one in done["inputs"]] == ["observation"]
    assert [one["name"] for one in done["outputs"]] == ["action_logits", "value"]
    assert done["actions"]["kind"] == "discrete"
    assert "its own play" in done["parity"]["origin"]


def test_a_memory_goes_in_and_comes_out(place: Path, tmp_path: Path) -> None:
    run = policy_run(place, "memory", memory="gru", memory_width=16)
    done = export(run.folder, tmp_path / "policy.onnx")
    assert [one["name"] for one in done["inputs"]] == ["observation", "memory"]
    session = onnxruntime.InferenceSession(done["path"], providers=["CPUExecutionProvider"])
    memory, seen = np.zeros((2, 16), np.float32), np.full((2, 7), 0.5, np.float32)
    first = session.run(None, {"observation": seen, "memory": memory})
    second = session.run(None, {"observation": seen, "memory": first[2]})
    assert not np.allclose(first[2], second[2])


@pytest.mark.parametrize("start", ["sequence:cnn", "sequence:gru"])
def test_numbers_over_time_leave_too(start: str, place: Path, tmp_path: Path) -> None:
    run = sequence_run(place, start)
    done = export(run.folder, tmp_path / "sequences.onnx")
    operators = [node.op_type for node in onnx.load(done["path"]).graph.node]
    assert operators.count("GRU") == (1 if start == "sequence:gru" else 0)  # one for both ways and all steps
    assert done["inputs"][0]["name"] == "sequences"
    assert "x, y, speed" in done["preprocessing"]
    assert export(run.folder, tmp_path / "other.onnx", data=run.recipe.data.path)["parity"]["origin"] != "test clips"


@pytest.mark.slow
def test_a_tile_network_leaves_with_windows_of_any_length(place: Path, tmp_path: Path) -> None:
    done = export(scene_run(place).folder, tmp_path / "tiles.onnx")
    assert done["inputs"][0]["shape"] == ["batch", "tokens", 20]
    session = onnxruntime.InferenceSession(done["path"], providers=["CPUExecutionProvider"])
    for length in (1, 7):
        inputs = {one["name"]: np.zeros((2, length, one["shape"][2]), one["dtype"]) for one in done["inputs"]}
        assert session.run(None, inputs)[0].shape == (2, length, len(done["tiles"]))


@pytest.mark.parametrize(
    "family",
    [
        "vit",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet", "videomae", "convnext", "mobilenet")),
    ],
)
def test_networks_of_transformers_leave_as_they_are(family: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = tiny_transformer(tmp_path, family)
    OnnxFormat().write(model, tmp_path, "model.onnx")
    parity = check_parity(model, OnnxFormat().runner(tmp_path / "model.onnx"))
    assert parity.batch_sizes == BATCH_SIZES
    assert max(found.relative for found in parity.differences) < 1e-5


# Trap 8 of the project's facts: a transposed square weight that nobody noticed.
@pytest.mark.parametrize("kind", ["clips_run", "policy"])
def test_a_transposed_square_weight_is_refused_and_leaves_nothing(
    kind: str, request: pytest.FixtureRequest, faulty_exporter: None, tmp_path: Path
) -> None:
    run: Run = request.getfixturevalue(kind)
    with pytest.raises(ExportError) as caught:
        export(run.folder, tmp_path / "new" / "model.onnx")
    told = str(caught.value)
    assert "logits" in told
    assert " off (numbers up to " in told
    assert " of 18 test clips" in told or " of 32 moments" in told
    assert "nothing was kept" in told or len(caught.value.problems) == 1
    assert all(problem.remedy for problem in caught.value.problems)
    assert not list((tmp_path / "new").iterdir())


def test_a_transposed_square_weight_of_a_transformer_is_refused(faulty_exporter: None, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = tiny_transformer(tmp_path, "vit")
    OnnxFormat().write(model, tmp_path, "model.onnx")
    with pytest.raises(ExportError, match="up to"):
        check_parity(model, OnnxFormat().runner(tmp_path / "model.onnx"))


def test_another_decision_is_refused_whatever_the_tolerance(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = tiny_transformer(tmp_path, "convnext")

    def swapped(batch: Any) -> Any:
        found = {name: values.copy() for name, values in model.answer(batch).items()}
        best, second = np.argsort(found["logits"][0])[::-1][:2]
        found["logits"][0, [best, second]] = found["logits"][0, [second, best]]
        return found

    with pytest.raises(ExportError, match="another choice is the largest"):
        check_parity(model, swapped, tolerance=0.999)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = tiny_transformer(tmp_path, "convnext")

    def broken(batch: Any) -> Any:
        return {name: np.full_like(values, np.nan) for name, values in model.answer(batch).items()}

    with pytest.raises(ExportError, match="inf off"):
        check_parity(model, broken)


def test_a_tolerance_that_nothing_meets_refuses(policy: Run, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="off"):
        export(policy.folder, tmp_path / "policy.onnx", tolerance=1e-12)
    assert not list(tmp_path.iterdir())


def test_weights_too_large_for_one_file_lie_beside_it(
    policy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_format, "_LARGEST_FILE", 100)
    done = export(policy.folder, tmp_path / "policy.onnx")
    assert {Path(one).name for one in done["files"]} == {"policy.onnx", "policy.onnx.data"}
    assert {one.name for one in tmp_path.iterdir()} == {"policy.onnx", "policy.onnx.data"}
    assert onnxruntime.InferenceSession(done["path"], providers=["CPUExecutionProvider"]).get_outputs()
    (tmp_path / "policy.onnx").unlink()
    with pytest.raises(RunError, match=r"exists, and nothing is overwritten") as caught:
        export(policy.folder, tmp_path / "policy.onnx")
    assert caught.value.source.endswith("policy.onnx.data")


def test_clips_that_are_gone_ask_for_others(clips_run: Run, tmp_path: Path) -> None:
    clips = Path(clips_run.recipe.data.path)
    moved = clips.with_name("moved")
    clips.rename(moved)
    try:
        with pytest.raises(RunError) as caught:
            export(clips_run.folder, tmp_path / "model.onnx")
        assert "--data" in caught.value.remedy
        done = export(clips_run.folder, tmp_path / "model.onnx", data=moved)
        assert str(moved) in done["parity"]["origin"]
    finally:
        moved.rename(clips)


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"to": "onx"}, RecipeError, "did you mean 'onnx'"),
        ({"tolerance": 0.0}, RecipeError, "tolerance"),
        ({"tolerance": float("nan")}, RecipeError, "tolerance"),
        ({"out": "model.bin"}, RunError, r"ends with .onnx"),
        ({"out": "."}, RunError, r"ends with .onnx"),
        ({"data": "clips"}, RunError, "leave out --data"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(
    policy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], error: Any, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        export(policy.folder, settings.pop("out", "model.onnx"), **settings)
    assert told in str(caught.value)
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(policy: Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("mine")
    with pytest.raises(RunError, match="nothing is overwritten"):
        export(policy.folder, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_text() == "mine"


def test_a_run_that_is_not_finished_is_to_be_resumed(policy: Run, tmp_path: Path) -> None:
    shutil.copytree(policy.folder, tmp_path / "half")
    (tmp_path / "half" / "evaluation.json").unlink()
    with pytest.raises(RunError, match="not finished") as caught:
        export(tmp_path / "half", tmp_path / "model.onnx")
    assert "ngp resume" in caught.value.remedy


def test_a_missing_package_names_the_command(policy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("onnxruntime", "tensorflow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for kind, out in (("onnx", "model.onnx"), ("tensorflow", "model")):
        with pytest.raises(MissingExtraError) as caught:
            export(policy.folder, tmp_path / out, to=kind)
        assert caught.value.remedy == f'pip install "newgameplus[{kind}]"'
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["write", "describe", "move"])
def test_a_full_disk_leaves_nothing_half_written(
    policy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    import errno

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "move":
        monkeypatch.setattr("newgameplus.deploy.export.os.rename", full)
    else:
        monkeypatch.setattr(OnnxFormat, step, full)
    with pytest.raises(StorageError, match="No space left") as caught:
        export(policy.folder, tmp_path / "model.onnx")
    assert "free some disk space" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_network_that_looks_at_its_numbers_is_refused_in_words(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = tiny_transformer(tmp_path, "convnext")
    forward = model.module.forward

    def looking(clips: Any) -> Any:
        return forward(clips if clips.float().mean().item() > 3 else clips + 1)

    model.module.forward = looking  # type: ignore[method-assign]
    with pytest.raises(ExportError) as caught:
        OnnxFormat().write(model, tmp_path, "model.onnx")
    assert "cannot be expressed" in str(caught.value)
    assert caught.value.remedy


def test_every_format_can_do_what_a_format_must() -> None:
    assert set(export_formats.EXPORT_FORMATS) == {"onnx", "tensorflow"}
    for name in export_formats.EXPORT_FORMATS:
        form = export_formats.find_format(name)
        assert all(callable(getattr(form, part)) for part in ("require", "write", "runner", "describe"))
        assert form.title


def test_the_command_line_prints_the_check(policy: Run, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from newgameplus.cli import app

    found = CliRunner().invoke(app, ["export", str(policy.folder), "--out", str(tmp_path / "a.onnx")])
    assert found.exit_code == 0, found.output
    assert "largest difference" in found.output
    again = CliRunner().invoke(app, ["export", str(policy.folder), "--out", str(tmp_path / "a.onnx"), "--json"])
    assert again.exit_code == 1
    assert '"ok": false' in again.output


def test_a_damaged_model_is_said_to_be_one(policy: Run, tmp_path: Path) -> None:
    shutil.copytree(policy.folder, tmp_path / "run")
    (tmp_path / "run" / "model" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(NewGamePlusError, match="weights"):
        export(tmp_path / "run", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
