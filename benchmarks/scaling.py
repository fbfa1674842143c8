"""What several processes bring, and where the limits lie for 1, 8 and 64 GPUs and 10 TB of video.

Measured here, on the processors of this machine:

* throughput of one process against two with the same global batch, on clips and on maps, and against two that share
  nothing, which is the most that two cores can give; in turn, in the same minutes; ratios are taken round by round,
  their intervals by bootstrap over rounds;
* bytes a sample: what is read from the frame cache, and what of gradients is handed over in a step;
* seconds a clip to decode video into the cache, on one core;
* operations a sample, forward and backward, counted by ``torch.utils.flop_counter`` on the meta device, for the bundled
  backbone and for ResNet-50, ViT-B/16 and VideoMAE-B in the shapes of their transformers configurations.

From these and from published peak rates and link speeds (named in ``DATASHEETS``) follows the plan on paper: which of
computing, handing over gradients, reading and decoding limits a step. Nothing of the plan was run on GPUs.

    python benchmarks/scaling.py [--quick] [--json benchmarks/results/scaling.json]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scaling_workers import Noise

ROOT = Path(__file__).resolve().parents[1]
WORKERS = Path(__file__).with_name("scaling_workers.py")
TERABYTE, GIGABYTE = 1e12, 1e9
# Public data sheets: NVIDIA H100 SXM (dense BF16 peak, NVLink both ways, halved for one way), InfiniBand NDR, NVMe.
DATASHEETS = {
    "GPU peak, BF16 dense, FLOP/s (H100 SXM data sheet)": 989e12,
    "share of the peak that training reaches (assumed)": 0.35,
    "NVLink, bytes/s a GPU one way (H100 SXM data sheet: 900 GB/s both ways)": 450e9,
    "network, bytes/s a machine of 8 GPUs (one 400 Gbit/s NDR port for each GPU)": 8 * 50e9,
    "local NVMe, bytes/s a machine (four PCIe 4 drives of 7 GB/s)": 28e9,
    "shared storage, bytes/s in all (assumed)": 20e9,
    "processor cores a machine (assumed)": 96.0,
    "video, bytes/s of play (H.264, 5 Mbit/s, assumed)": 625_000.0,
    "length of a labelled clip, s (assumed)": 1.0,
}
BATCH_A_GPU = 64
#: What is trained on, how many examples a global batch has (clips, windows of maps), and steps.
CASES = (("clips", 32, 24), ("clips", 128, 12), ("maps", 16, 24))


def throughput(kind: str, batch: int, processes: int, steps: int) -> dict[str, float]:
    """Run a worker in so many processes that share its batches."""
    with tempfile.TemporaryDirectory() as folder:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        begun = _begin(launch if processes > 1 else [], kind, folder, steps, batch)
        return _told(begun, folder)


def apart(kind: str, batch: int, steps: int) -> float:
    """Return examples a second of two workers with half a batch each that know nothing of each other."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        folders = (first, second)
        begun = [_begin([], kind, folder, steps, batch // 2) for folder in folders]
        told = [_told(one, folder) for one, folder in zip(begun, folders, strict=True)]
    return sum(one["examples_per_second"] for one in told)


def _begin(launch: list[str], kind: str, folder: str, steps: int, batch: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, *launch, str(WORKERS), kind, folder, str(steps), str(batch)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=variables, stderr=subprocess.DEVNULL)


def _told(begun: subprocess.Popen[bytes], folder: str) -> dict[str, float]:
    if begun.wait():
        sys.exit(f"a worker failed: {begun.args}")
    told: dict[str, float] = json.loads((Path(folder) / "told.json").read_text())
    return told


def measure_rounds(kind: str, batch: int, steps: int, rounds: int) -> dict[str, Any]:
    """Measure one process, two that share, and two apart, in turn."""
    rows = []
    work: dict[str, Callable[[], Any]] = {
        "one": lambda: throughput(kind, batch, 1, steps),
        "two": lambda: throughput(kind, batch, 2, steps),
        "apart": lambda: {"examples_per_second": apart(kind, batch, steps)},
    }
    for number in range(rounds):
        load = os.getloadavg()[0]
        names = list(work)[:: 1 if number % 2 == 0 else -1]
        row = {name: work[name]() for name in names}
        rows.append({**{name: row[name] for name in work}, "load_before": load})
        rates = ", ".join(f"{row[name]['examples_per_second']:.1f} {name}" for name in work)
        print(f"{batch} {kind}, round {number + 1}: {rates} a second", flush=True)
    ratios = {
        "two": ratio(rows, "two", "one"),
        "apart": ratio(rows, "apart", "one"),
        "shared": ratio(rows, "two", "apart"),
    }
    return {"rounds": rows, "ratios": ratios, "kind": kind, "global_batch": batch, "steps": steps}


def ratio(rows: list[dict[str, Any]], above: str, below: str) -> dict[str, float]:
    """Return the geometric mean of a ratio that is taken round by round, and its 95 % interval by bootstrap."""
    each = np.log([row[above]["examples_per_second"] / row[below]["examples_per_second"] for row in rows])
    means = each[np.random.default_rng(0).integers(0, len(each), (2000, len(each)))].mean(axis=1)
    value, low, high = np.exp([each.mean(), *np.quantile(means, [0.025, 0.975])])
    return {"value": float(value), "low": float(low), "high": float(high)}


def measure_decoding(seconds_of_video: int) -> dict[str, float]:
    """Time the decoding of one-second clips of a 640x480 H.264 video into the cache, on one core."""
    import av

    from newgameplus.games.cache import cache_clips
    from newgameplus.games.clips import load_clips
    from newgameplus.pretrained.catalog import load_pretrained

    shape = load_pretrained("bundled:doom-clips").card.shape
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        still = rng.integers(0, 256, (480, 1280, 3), dtype=np.uint8).repeat(1, axis=0)
        with av.open(str(folder / "film.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
            stream.options = {"g": "30", "b:v": "5M", "maxrate": "5M", "bufsize": "5M"}
            for frame in range(seconds_of_video * 30):
                picture = np.ascontiguousarray(still[:, frame % 640 : frame % 640 + 640])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        lines = ["path,label,start,end", *(f"film.mp4,a,{at},{at + 1}" for at in range(seconds_of_video))]
        (folder / "labels.csv").write_text("\n".join(lines))
        clips = load_clips(folder)
        began = time.process_time()
        cache_clips(clips, shape, folder / "cache")
        seconds = time.process_time() - began
        size = (folder / "film.mp4").stat().st_size
    return {"core_seconds_per_clip": seconds / seconds_of_video, "video_bytes_per_second": size / seconds_of_video}


def measure_preparing(models: dict[str, Any], clips: int) -> None:
    """Time what one core does for a clip in every step: gather it, vary light, contrast and position."""
    from newgameplus.train.examples import ClipExamples

    rng = np.random.default_rng(0)
    for model in models.values():
        frames = rng.integers(0, 256, (clips, *model["shape"]), dtype=np.uint8)
        examples = ClipExamples(Noise(frames), np.arange(clips), np.zeros(clips, np.int64), augment=True)
        examples.batch(np.arange(clips), rng)
        times = []
        for _ in range(3):
            began = time.process_time()
            examples.batch(np.arange(clips), rng)
            times.append((time.process_time() - began) / clips)
        model["preparing_seconds"] = statistics.median(times)


def count_operations() -> dict[str, dict[str, float]]:
    """Count floating-point operations, forward and backward, of one sample, and the weights."""
    import transformers
    from torch.utils.flop_counter import FlopCounterMode

    from newgameplus.pretrained.catalog import load_pretrained

    bundled = load_pretrained("bundled:doom-clips")
    found = {}
    with torch.device("meta"):
        resnet = transformers.ResNetModel(transformers.ResNetConfig())
        vit = transformers.ViTModel(transformers.ViTConfig())
        video = transformers.VideoMAEModel(transformers.VideoMAEConfig())
        models = {
            "ResNet-50, 224 x 224": (resnet, torch.empty(2, 3, 224, 224), (1, 224, 224, 3)),
            "ViT-B/16, 224 x 224": (vit, torch.empty(2, 3, 224, 224), (1, 224, 224, 3)),
            "VideoMAE-B, 16 x 224 x 224": (video, torch.empty(2, 16, 3, 224, 224), (16, 224, 224, 3)),
        }
    shape = bundled.card.shape
    clips = torch.zeros((2, *shape.array), dtype=torch.uint8)
    cases: dict[str, Any] = {f"bundled:doom-clips, {shape.frames} x {shape.height} x {shape.width}": (
        bundled.backbone, clips, shape.array
    )} | models  # fmt: skip
    for name, (model, inputs, array) in cases.items():
        model.train()
        with FlopCounterMode(display=False) as counter:
            output = model(inputs)
            answer = output if isinstance(output, torch.Tensor) else output.last_hidden_state
            answer.float().sum().backward()
        weights = sum(weight.numel() for weight in model.parameters())
        operations = counter.get_total_flops() / len(inputs)
        size = int(np.prod(array))
        found[name] = {"operations": operations, "weights": weights, "cache_bytes": size, "shape": tuple(array)}
    return found


def plan(models: dict[str, Any], decoding: dict[str, float]) -> list[dict[str, Any]]:
    """Work out, for each model and number of GPUs, the samples a second that each part could serve."""
    sheet = list(DATASHEETS.values())
    peak, share, nvlink, network, local, storage, cores, video, length = sheet
    clips = 10 * TERABYTE / video / length
    rows = []
    for name, model in models.items():
        for gpus in (1, 8, 64):
            machines = max(1, gpus // 8)
            step = BATCH_A_GPU * gpus
            compute = BATCH_A_GPU * model["operations"] / (peak * share)
            # A ring hands 2 (n - 1) / n of the gradients (4 bytes a weight) over the slowest link of each GPU.
            link = nvlink if gpus <= 8 else min(nvlink, network / 8)
            reduce = 2 * (gpus - 1) / gpus * 4 * model["weights"] / link
            read = model["cache_bytes"] * clips
            in_cache = local * machines / model["cache_bytes"]
            rates = {
                "GPU computing": step / compute,
                "gradients": step / reduce if reduce else None,
                "preparing clips, one thread a GPU": gpus / model["preparing_seconds"],
                "reading the cache from local disks": in_cache,
                "reading the cache from shared storage": storage / model["cache_bytes"],
            }
            trained = step / (compute + reduce)
            # One machine decodes for all: the main process fills the cache while the others wait.
            decode_hours = clips * decoding["core_seconds_per_clip"] / cores / 3600
            # The loop prepares a batch, then computes it: the two times add up; the system reads ahead meanwhile.
            one_after_other = 1 / (1 / trained + model["preparing_seconds"] / gpus)
            shared = storage / model["cache_bytes"]
            limits = {key: rate for key, rate in rates.items() if rate is not None and key != "gradients"}
            limits["GPU computing"] = trained
            limit = min(limits, key=lambda key: limits[key])
            rows.append(
                {
                    "model": name, "gpus": gpus, "clips": clips, "samples_per_second": rates, "trained": trained,
                    "gradient_share_of_step": reduce / (compute + reduce), "cache_terabytes": read / TERABYTE,
                    "decode_hours_once": decode_hours, "fetch_hours_once": 10 * TERABYTE / storage / 3600,
                    "epoch_hours": clips / min(one_after_other, in_cache, shared) / 3600,
                    "limit": limit,
                }
            )  # fmt: skip
    return rows


def report(found: dict[str, Any]) -> str:
    """Return the tables of docs/benchmarks/scaling.md."""
    heads = [
        "trained on", "global batch", "one process, examples a second (median)", "two, sharing", "times one process",
        "two apart, times one process", "sharing, times apart", "gradients a step",
    ]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for told in found["throughput"]:
        rounds, ratios = told["rounds"], told["ratios"]
        medians = [statistics.median(row[key]["examples_per_second"] for row in rounds) for key in ("one", "two")]
        sent = max(row["two"]["gradient_bytes"] for row in rounds) / 1e6
        cells = [told["kind"], str(told["global_batch"]), *(f"{median:.1f}" for median in medians)]
        cells += [f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})" for one in ratios.values()]
        lines.append(f"| {' | '.join([*cells, f'{sent:.1f} MB'])} |")
    lines += [
        "", "| model | weights | operations a sample, forward and backward | bytes a sample in the cache |"
        " gradient bytes a step | core ms to prepare a sample |", "|---|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, model in found["models"].items():
        told = f"{model['operations'] / 1e9:,.2f} G | {model['cache_bytes']:,} | {4 * model['weights'] / 1e6:,.1f} MB"
        told += f" | {1000 * model['preparing_seconds']:.2f}"
        lines.append(f"| {name} | {model['weights']:,} | {told} |")
    heads = [
        "model", "GPUs", "computing", "with gradients", "gradients' share", "preparing", "local disks",
        "shared storage", "cache, TB", "decoding once, h", "an epoch, h", "limit",
    ]  # fmt: skip
    lines += ["", f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 2)}---|"]
    for row in found["plan"]:
        rates = row["samples_per_second"]
        cells = [
            row["model"], str(row["gpus"]), f"{rates['GPU computing']:,.0f}", f"{row['trained']:,.0f}",
            f"{row['gradient_share_of_step']:.1%}", f"{rates['preparing clips, one thread a GPU']:,.0f}",
            f"{rates['reading the cache from local disks']:,.0f}",
            f"{rates['reading the cache from shared storage']:,.0f}", f"{row['cache_terabytes']:,.1f}",
            f"{row['decode_hours_once']:,.1f}", f"{row['epoch_hours']:,.2f}", row["limit"],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, plan, print, and write the raw results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Two rounds of few steps.")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=Path, default=None, help="Write the raw results there.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = count_operations()
    measure_preparing(models, 8 if arguments.quick else 32)
    decoding = measure_decoding(10 if arguments.quick else 60)
    rounds = 2 if arguments.quick else arguments.rounds
    measured = [measure_rounds(kind, batch, 6 if arguments.quick else steps, rounds) for kind, batch, steps in CASES]
    found = {
        "date": datetime.date.today().isoformat(), "torch": torch.__version__, "cores": os.cpu_count(),
        "load": os.getloadavg(), "throughput": measured, "decoding": decoding, "models": models,
        "datasheets": DATASHEETS, "batch_per_gpu": BATCH_A_GPU, "plan": plan(models, decoding),
    }  # fmt: skip
    print(report(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
