"""The checks of ``ngp doctor``: each uses a thing as New Game+ does, and says what it found.

Run by :mod:`newgameplus.doctor` as ``python -m newgameplus.doctor_checks NAME...``; a line of JSON on standard output
for each. A check returns a finding; whatever it raises is the finding's text.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from newgameplus.doctor import CHECKS, Check
from newgameplus.doctor_games import (
    check_bundled_policies,
    check_gymnasium,
    check_minigrid,
    check_recordings,
    extra_version,
)
from newgameplus.doctor_models import check_keras, check_vision

__all__ = [
    "check_bundled_policies",
    "check_gymnasium",
    "check_keras",
    "check_minigrid",
    "check_recordings",
    "check_vision",
    "examine",
    "main",
]

_GIGABYTE = 1e9


def examine(name: str) -> Check:
    """Run one check of :data:`newgameplus.doctor.CHECKS` in this process."""
    examination = CHECKS[name]
    try:
        found: Check = globals()[examination.function](name)
    except Exception as error:  # noqa: BLE001 - whatever is raised is the finding
        said = " ".join(str(error).split())[:300]
        return Check(name, examination.level, f"{type(error).__name__}: {said}", examination.remedy)
    return replace(found, remedy="") if found.ok else found


def main(names: list[str]) -> None:
    """Run the named checks and write their findings to standard output, which libraries are kept away from."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for name in names:
        print(json.dumps({"event": "started", "name": name}), file=answers, flush=True)
        print(json.dumps(examine(name).as_dict()), file=answers, flush=True)


def check_python(name: str) -> Check:
    """The interpreter is new enough."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"
    return Check(name, "ok" if sys.version_info >= (3, 11) else "broken", found, CHECKS[name].remedy)


def check_packages(name: str) -> Check:
    """Every package that New Game+ asks for is there, and new enough."""
    from packaging.requirements import Requirement

    wrong, count = [], 0
    for line in importlib.metadata.requires("newgameplus") or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if not version or not requirement.specifier.contains(version, prereleases=True):
            wrong.append((f"{requirement.name} {version or 'missing'}", f'"{requirement.name}{requirement.specifier}"'))
    if not wrong:
        return Check(
            name, "ok", f"New Game+ {importlib.metadata.version('newgameplus')}, all {count} packages it needs"
        )
    return Check(name, "broken", ", ".join(w[0] for w in wrong), "pip install " + " ".join(w[1] for w in wrong))


def check_torch(name: str) -> Check:
    """Torch multiplies matrices, and gets the right result."""
    import numpy as np
    import torch

    size = 512
    random = np.random.default_rng(0)
    left, right = (random.standard_normal((size, size)).astype(np.float32) for _ in range(2))
    product = torch.from_numpy(left) @ torch.from_numpy(right)
    started = time.perf_counter()
    product = torch.from_numpy(left) @ torch.from_numpy(right)
    seconds = time.perf_counter() - started
    error = float(np.abs(product.numpy() - left.astype(np.float64) @ right.astype(np.float64)).max())
    threads = torch.get_num_threads()
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    found = f"{torch.__version__} ({build}), {threads} threads, {2e-9 * size**3 / seconds:.0f} GFLOP/s"
    if error > 1e-2:
        return Check(name, "broken", f"{found}; a product of matrices is wrong by {error:.3g}", CHECKS[name].remedy)
    if threads > _cores():
        remedy = f"unset OMP_NUM_THREADS, or set it to {_cores()}"
        return Check(name, "warning", f"{found} on {_cores()} cores", remedy)
    return Check(name, "ok", found)


def check_accelerate(name: str) -> Check:
    """Accelerate finds a device."""
    from accelerate import Accelerator

    return Check(name, "ok", f"{importlib.metadata.version('accelerate')}, device {Accelerator().device}")


def check_safetensors(name: str) -> Check:
    """Weights come back from disk as they were written."""
    import torch
    from safetensors.torch import load_file, save_file

    tensor = torch.arange(6.0).reshape(2, 3)
    with tempfile.TemporaryDirectory() as folder:
        save_file({"weights": tensor}, Path(folder) / "model.safetensors")
        back = load_file(Path(folder) / "model.safetensors")["weights"]
    if not torch.equal(tensor, back):
        return Check(name, "broken", "weights read are not the weights written", CHECKS[name].remedy)
    return Check(name, "ok", importlib.metadata.version("safetensors"))


def check_bundled_models(name: str) -> Check:
    """The weights that come with the package load; loading compares their digests with those on their cards."""
    from newgameplus.pretrained.catalog import SOURCES, load_pretrained

    cards = importlib.import_module(SOURCES["bundled"]).cards()
    for card in cards:
        load_pretrained(card.name)
    if not cards:
        return Check(name, "broken", "there are none", CHECKS[name].remedy)
    return Check(name, "ok", ", ".join(f"{card.name} ({card.parameters:,} weights)" for card in cards))


def check_bundled_tile_model(name: str) -> Check:
    """The tile model for scenes loads; loading compares its digest with that on its card."""
    import torch

    from newgameplus.pretrained.tile_model import load_start

    model = load_start("bundled:tiles")
    found = f"{model.name} ({model.parameters:,} weights, {len(model.tiles)} tiles)"
    if not all(bool(torch.isfinite(value).all()) for value in model.network.parameters()):
        return Check(name, "broken", f"{found}: some weights are no numbers", CHECKS[name].remedy)
    return Check(name, "ok", found)


def check_device(name: str) -> Check:
    """A graphics processor, if there is one, computes."""
    import torch

    if torch.cuda.is_available():
        device = torch.device("cuda")
        total = torch.cuda.get_device_properties(device).total_memory
        ones = torch.ones(64, 64, device=device)
        if float((ones @ ones).sum()) != 64.0**3:
            return Check(name, "warning", "the GPU multiplies matrices wrongly", CHECKS[name].remedy)
        return Check(name, "ok", f"{torch.cuda.get_device_name(device)}, {total / _GIGABYTE:.0f} GB")
    if shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists():
        remedy = "pip install --force-reinstall torch (a CUDA build), or go on without the GPU"
        return Check(name, "warning", "there is an NVIDIA GPU, but this torch cannot use it", remedy)
    return Check(name, "ok", "no GPU, training on the CPU")


def check_transformers(name: str) -> Check:
    """The vision networks of Transformers can be imported (only an extra: without it there are the bundled models)."""
    from newgameplus.pretrained.transformers_blueprint import broken_torchvision

    try:
        version = importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        return Check(
            name, "warning", "not installed: models of the Hugging Face Hub cannot be used", CHECKS[name].remedy
        )
    if why := broken_torchvision():
        found = f"{version}, but torchvision is installed and broken ({why})"
        return Check(name, "warning", found, "pip uninstall torchvision (New Game+ does not need it)")
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    network = ResNetForImageClassification(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])).eval()
    with torch.no_grad():
        network(torch.zeros(1, 3, 32, 32))
    return Check(name, "ok", version)


def check_adapters(name: str) -> Check:
    """PEFT puts low-rank updates into a network (only an extra: the strategy ``lora`` of scenes needs it)."""
    version = extra_version("peft")
    if version is None:
        return Check(name, "warning", "PEFT is not installed: adapt.strategy lora needs it", CHECKS[name].remedy)
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    network = torch.nn.Sequential(torch.nn.Linear(4, 4))
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["0"]), network)
    if not any("lora_" in key for key, _ in network.named_parameters()):
        return Check(name, "warning", f"PEFT {version} adds nothing to a network", CHECKS[name].remedy)
    return Check(name, "ok", f"PEFT {version}")


def check_zstandard(name: str) -> Check:
    """Zstandard packs and unpacks (only an extra: Tiled maps whose layers are packed so need it)."""
    version = extra_version("zstandard")
    if version is None:
        found = "not installed: Tiled maps packed with Zstandard cannot be read, all others can"
        return Check(name, "warning", found, CHECKS[name].remedy)
    zstandard = importlib.import_module("zstandard")
    content = bytes(range(256)) * 8
    if zstandard.ZstdDecompressor().decompress(zstandard.ZstdCompressor().compress(content)) != content:
        return Check(name, "warning", f"{version}: what is unpacked is not what was packed", CHECKS[name].remedy)
    return Check(name, "ok", version)


def check_video(name: str) -> Check:
    """H.264 is written and read back, frame by frame."""
    import io

    import av
    import numpy as np

    frames, height, width = 12, 64, 96
    levels = np.linspace(40, 200, frames)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for level in levels:
            picture = np.full((height, width, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        decoded = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    found = f"PyAV {av.__version__}, h264"
    if len(decoded) != frames or np.abs(np.array(decoded) - levels).max() > 6:
        return Check(name, "broken", f"{found}: what is read is not what was written", CHECKS[name].remedy)
    return Check(name, "ok", f"{found} written and read")


def check_scikit_learn(name: str) -> Check:
    """A random forest, as in the baselines, learns something."""
    import numpy as np
    import sklearn
    from sklearn.ensemble import RandomForestClassifier

    values = np.linspace(-1, 1, 40)[:, None]
    forest = RandomForestClassifier(5, random_state=0).fit(values, values[:, 0] > 0)
    if forest.score(values, values[:, 0] > 0) < 0.9:
        return Check(name, "broken", f"{sklearn.__version__}: a random forest learns nothing", CHECKS[name].remedy)
    return Check(name, "ok", sklearn.__version__)


def check_figures(name: str) -> Check:
    """Matplotlib draws without a screen."""
    import io

    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    picture = io.BytesIO()
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    figure.savefig(picture, format="png")
    if not picture.getvalue().startswith(b"\x89PNG"):
        return Check(name, "broken", f"matplotlib {mpl.__version__} draws nothing", CHECKS[name].remedy)
    return Check(name, "ok", f"matplotlib {mpl.__version__}")


def check_tensorboard(name: str) -> Check:
    """Events are written."""
    from torch.utils.tensorboard.writer import SummaryWriter

    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            writer.add_scalar("loss", 1.0, 0)
        if not any(file.stat().st_size for file in Path(folder).iterdir()):
            return Check(name, "broken", "no events are written", CHECKS[name].remedy)
    return Check(name, "ok", importlib.metadata.version("tensorboard"))


def check_doom_engine(name: str) -> Check:
    """ViZDoom starts, plays and shows a picture (only an extra: it records demonstrations)."""
    try:
        version = importlib.metadata.version("vizdoom")
    except importlib.metadata.PackageNotFoundError:
        remedy = 'pip install "newgameplus[doom]"'
        return Check(name, "warning", "ViZDoom is not installed: ngp demo and ngp record doom need it", remedy)
    import vizdoom

    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)  # the engine leaves a folder where it is started
        game = vizdoom.DoomGame()
        game.load_config(str(Path(vizdoom.scenarios_path) / "basic.cfg"))
        game.set_doom_config_path(str(Path(folder) / "engine.ini"))
        game.set_sound_enabled(False)
        game.set_window_visible(False)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_seed(1)
        try:
            game.init()
            game.advance_action(4)
            picture = game.get_state().screen_buffer
        finally:
            game.close()
            os.chdir(before)
    if picture.ndim != 3 or not picture.std() > 0:
        return Check(name, "warning", f"ViZDoom {version} shows an empty picture", CHECKS[name].remedy)
    return Check(name, "ok", f"ViZDoom {version} plays")


def check_cores(name: str) -> Check:
    """The processor cores that this process may use are not busy with something else."""
    load = os.getloadavg()[0]
    busy = load > 2 * _cores()
    return Check(
        name, "warning" if busy else "ok", f"{_cores()} of {os.cpu_count()}, load {load:.1f}", CHECKS[name].remedy
    )


def check_memory(name: str) -> Check:
    """There is room for a network and its gradients."""
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / _GIGABYTE:.1f} of {memory.total / _GIGABYTE:.1f} GB free"
    return Check(name, "ok" if memory.available > 1.5 * _GIGABYTE else "warning", found, CHECKS[name].remedy)


def check_cache_folder(name: str) -> Check:
    """Frames can be cached where they are to be."""
    from newgameplus.scenarios.behavior_data import cache_folder

    folder = cache_folder()
    probe = folder / f".doctor-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"1")
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return Check(name, "ok", str(folder))


def check_disk_space(name: str) -> Check:
    """There is room for cached frames and runs."""
    from newgameplus.scenarios.behavior_data import cache_folder

    existing = next(folder for folder in (cache_folder(), *cache_folder().absolute().parents) if folder.exists())
    places = {existing.stat().st_dev: existing, Path.cwd().stat().st_dev: Path.cwd()}
    free = {place: shutil.disk_usage(place).free / _GIGABYTE for place in places.values()}
    found = ", ".join(f"{gigabytes:.0f} GB free at {place}" for place, gigabytes in free.items())
    return Check(name, "ok" if min(free.values()) > 2 else "warning", found, CHECKS[name].remedy)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main(sys.argv[1:])
