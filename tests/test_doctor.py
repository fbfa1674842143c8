"""The doctor tells sound from broken, names the remedy, and survives whatever a broken installation does."""

from __future__ import annotations

import json
import resource
import sys
from types import ModuleType

import pytest

from newgameplus import doctor as doctor_module
from newgameplus import doctor_checks
from newgameplus.doctor import CHECKS, Check, Examination, doctor
from newgameplus.doctor_checks import examine


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NGP_CACHE", str(tmp_path / "cache"))


def test_every_check_has_a_function_and_a_level():
    for examination in CHECKS.values():
        assert callable(getattr(doctor_checks, examination.function))
        assert examination.level in ("warning", "broken")


def test_on_a_sound_installation_nothing_is_broken():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    checks = doctor()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert [check.name for check in checks] == list(CHECKS)
    assert [check for check in checks if check.level == "broken"] == []
    assert all(check.found for check in checks)
    assert all(bool(check.remedy) != check.ok for check in checks)
    # Less than 10 s on two cores; processor time, because the machine that tests may be busy.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20


def test_a_finding_is_plain_data():
    check = Check("video", "broken", "no h264", "pip install --force-reinstall av")
    assert json.loads(json.dumps(check.as_dict())) == {
        "name": "video",
        "ok": False,
        "level": "broken",
        "found": "no h264",
        "remedy": "pip install --force-reinstall av",
    }


@pytest.mark.parametrize(
    ("crash", "said"),
    [
        ("import os; print('last words', file=sys.stderr, flush=True); os.abort()", "crashed (SIGABRT): last words"),
        ("import os; os._exit(3)", "exit status 3"),
        ("import time; time.sleep(60)", "no answer in 6 s"),
        ("raise SystemExit(5)", "exit status 5"),
    ],
)
def test_a_check_that_dies_or_hangs_is_the_broken_one_and_the_rest_goes_on(monkeypatch, tmp_path, crash, said):
    broken = tmp_path / "safetensors"
    broken.mkdir()
    (broken / "__init__.py").write_text(f"import sys; {crash}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    names = ["cores", "safetensors", "python", "memory", "packages"]
    found = {check.name: check for check in doctor(names, silence_seconds=6)}
    assert list(found) == names
    assert found["safetensors"].level == "broken"
    assert said in found["safetensors"].found
    assert found["safetensors"].remedy == "pip install --force-reinstall safetensors"
    assert all(check.level != "broken" for name, check in found.items() if name != "safetensors")


def test_what_libraries_print_does_not_disturb(monkeypatch, tmp_path):
    (tmp_path / "psutil.py").write_text("import os; print('hello'); os.write(1, b'noise'); raise ImportError('none')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    memory, cores = doctor(["memory", "cores"])
    assert (memory.level, memory.found) == ("warning", "ImportError: none")
    assert "load" in cores.found


def test_a_python_that_cannot_be_started_is_told(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    checks = doctor(["python", "torch"])
    assert [check.level for check in checks] == ["broken", "broken"]
    assert all("cannot be started" in check.found for check in checks)


@pytest.mark.parametrize(
    ("name", "module", "level"),
    [
        ("torch", "torch", "broken"),
        ("accelerate", "accelerate", "broken"),
        ("safetensors", "safetensors.torch", "broken"),
        ("video", "av", "broken"),
        ("scikit-learn", "sklearn.ensemble", "broken"),
        ("figures", "matplotlib.figure", "broken"),
        ("tensorboard", "torch.utils.tensorboard.writer", "broken"),
        ("adapters", "peft", "warning"),
        ("zstandard", "zstandard", "warning"),
        ("gymnasium", "gymnasium", "warning"),
        ("minigrid", "minigrid", "warning"),
        ("recordings", "h5py", "warning"),
    ],
)
def test_a_library_that_cannot_be_imported(monkeypatch, name, module, level):
    monkeypatch.setitem(sys.modules, module, None)
    check = examine(name)
    assert check.level == level
    assert module in check.found
    assert check.remedy.startswith("pip install")


def test_a_torch_that_computes_nonsense(monkeypatch):
    import torch

    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda left, right: left * 2)
    check = examine("torch")
    assert check.level == "broken"
    assert "wrong" in check.found


def test_more_threads_than_cores(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    check = examine("torch")
    assert check.level == "warning"
    assert "OMP_NUM_THREADS" in check.remedy


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("transformers", "transformers"),
        ("doom engine", "vizdoom"),
        ("adapters", "peft"),
        ("zstandard", "zstandard"),
        ("gymnasium", "gymnasium"),
        ("minigrid", "minigrid"),
        ("recordings", "h5py"),
    ],
)
def test_an_extra_that_is_not_installed_is_no_more_than_a_warning(monkeypatch, name, package):
    known = doctor_checks.importlib.metadata.version

    def version(asked: str) -> str:
        if asked == package:
            raise doctor_checks.importlib.metadata.PackageNotFoundError(asked)
        return known(asked)

    monkeypatch.setattr(doctor_checks.importlib.metadata, "version", version)
    check = examine(name)
    assert check.level == "warning"
    assert "not installed" in check.found
    assert "newgameplus[" in check.remedy


def test_a_broken_torchvision_is_named(monkeypatch):
    from newgameplus.pretrained import transformers_blueprint

    monkeypatch.setattr(
        transformers_blueprint, "broken_torchvision", lambda: "operator torchvision::nms does not exist"
    )
    check = examine("transformers")
    assert check.level == "warning"
    assert "torchvision::nms" in check.found
    assert check.remedy.startswith("pip uninstall torchvision")


def test_packages_that_are_missing_or_too_old_are_all_named(monkeypatch):
    monkeypatch.setattr(doctor_checks.importlib.metadata, "requires", lambda _: ["numpy>=999", "nonexistent-thing>=1"])
    check = examine("packages")
    assert check.level == "broken"
    assert "numpy" in check.found
    assert "nonexistent-thing missing" in check.found
    assert check.remedy == 'pip install "numpy>=999" "nonexistent-thing>=1"'


def test_bundled_weights_that_are_missing_or_changed(monkeypatch, tmp_path):
    from newgameplus.pretrained import bundled
    from newgameplus.pretrained.backbone import PretrainedModel
    from newgameplus.pretrained.card import ModelCard
    from newgameplus.pretrained.clip_network import ClipNetwork
    from newgameplus.shapes import ClipShape

    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    assert (examine("bundled models").level, examine("bundled models").found) == ("broken", "there are none")

    shape = ClipShape(4, 32, 32, 1)
    card = ModelCard("bundled:tiny", "clip-cnn", "clip", 0, 16, shape, facts={"width": 4})
    bundled.save(tmp_path, PretrainedModel(card, ClipNetwork(shape, 4, 16)))
    assert examine("bundled models").found.startswith("bundled:tiny (")

    weights = tmp_path / "tiny.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    check = examine("bundled models")
    assert check.level == "broken"
    assert "digest" in check.found
    assert check.remedy == "pip install --force-reinstall newgameplus"


def test_a_bundled_tile_model_whose_weights_are_missing(monkeypatch):
    from newgameplus.pretrained import tile_model

    assert examine("bundled tile model").ok
    monkeypatch.setattr(tile_model, "WEIGHTS", "lost.safetensors")
    check = examine("bundled tile model")
    assert check.level == "broken"
    assert "missing" in check.found
    assert check.remedy == "pip install --force-reinstall newgameplus"


def test_a_cache_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NGP_CACHE", str(tmp_path / "file" / "cache"))
    check = examine("cache folder")
    assert check.level == "broken"
    assert "NGP_CACHE" in check.remedy


def test_short_of_memory_and_disk(monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 1e8, "total": 1e9}))
    assert examine("memory").level == "warning"
    monkeypatch.setattr(doctor_checks.shutil, "disk_usage", lambda _: type("D", (), {"free": 1e8}))
    assert examine("disk space").level == "warning"


def test_cores_that_are_busy_with_something_else(monkeypatch):
    monkeypatch.setattr(doctor_checks.os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    check = examine("cores")
    assert check.level == "warning"
    assert "train.threads" in check.remedy
    monkeypatch.setattr(doctor_checks.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert examine("cores").ok


def test_a_gpu_that_this_torch_cannot_use(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor_checks.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    check = examine("device")
    assert check.level == "warning"
    assert "CUDA build" in check.remedy


def test_an_engine_that_aborts_is_only_a_warning(monkeypatch, tmp_path):
    (tmp_path / "vizdoom.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (check,) = doctor(["doom engine"])
    assert check.level == "warning"
    assert "SIGABRT" in check.found


def test_the_doctor_itself_imports_nothing_that_can_be_broken():
    heavy = {"torch", "numpy", "av", "psutil", "accelerate", "transformers", "vizdoom", "sklearn", "matplotlib"}
    assert isinstance(doctor_module, ModuleType)
    import subprocess

    code = f"import sys, newgameplus.doctor; sys.exit(bool({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_check_that_returns_nothing_useful_is_reported(monkeypatch):
    monkeypatch.setitem(CHECKS, "odd", Examination("check_odd", "warning", "ask for help"))
    check = examine("odd")
    assert check == Check("odd", "warning", "KeyError: 'check_odd'", "ask for help")
