"""How long ``ngp --help`` takes, beside ``python -c pass`` in the same minute.

    python benchmarks/startup.py [--quick] [--out results.json]

Runs the two in turn, so that a change of the machine's speed falls on both, and prints medians and the ratio pair by
pair with a 95 % bootstrap interval. To reach: a median under 0.4 s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

PEER = [sys.executable, "-c", "pass"]
HELP = [str(Path(sys.executable).with_name("ngp")), "--help"]


def seconds(command: list[str]) -> float:
    """Run a command once and return its wall-clock seconds."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 40")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rounds = 5 if arguments.quick else 40
    for command in (PEER, HELP):
        seconds(command)  # once to fill the file cache
    pairs = [(seconds(HELP), seconds(PEER)) for _ in range(rounds)]
    ratios = np.array([ours / peer for ours, peer in pairs])
    resampled = np.median(np.random.default_rng(0).choice(ratios, (2000, rounds)), axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    result = {
        "rounds": rounds,
        "help_seconds": statistics.median(ours for ours, _ in pairs),
        "pass_seconds": statistics.median(peer for _, peer in pairs),
        "ratio": float(np.median(ratios)),
        "low": float(low),
        "high": float(high),
        "pairs": pairs,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1))
    print("| ngp --help, median | python -c pass, median | ratio (95 %) |\n|---|---|---|")
    print(
        f"| {result['help_seconds']:.3f} s | {result['pass_seconds']:.3f} s "
        f"| {result['ratio']:.1f} ({low:.1f} to {high:.1f}) |"
    )


if __name__ == "__main__":
    main()
