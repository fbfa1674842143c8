"""Speed: seconds a level against a GPT-2 decoded without a cache, and seconds a verified level by width.

    python benchmarks/speed.py [--quick] [--out results-speed] [--run results-mario/runs/mario-0] [--threads 1]
                               [--rounds 3] [--each 4] [--steps 150]

First: 14 x 100 levels (1,400 tiles), one at a time and eight together, against a GPT-2 of about as many weights with
256 tokens, random weights, a context of 672 tokens and no cache, which is how MarioGPT decodes. Each round times both
in turn. GPT-2's steps are sampled: one step at each of nine lengths up to 672, from which the 1,400 steps of a level
are summed up (lengths between by interpolation, steps after the 672nd like it). Then: delivered levels, each verified,
of 14 rows and 18 to 256 columns, one at a time and eight together, with a fit of how time grows with width. The model
is that of ``--run``, else one fitted here in a moment on maps of our own platformer generator. Seconds are the
processor's, which on one thread are those of an idle machine.

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the tables of
docs/benchmarks/speed.md.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from newgameplus import progress
from newgameplus.evaluate.scene_intervals import mean_interval
from newgameplus.games.generators import make_levels, open_generator
from newgameplus.generate.delivery import Maker
from newgameplus.pretrained.tile_model import TileModel, load_tile_model
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.run import Run
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game, scene_recipe
from newgameplus.scenarios.scene_makers import make_maker, make_sampler, sample_raw
from scene_common import (
    Bench,
    guarded,
    keep_results,
    kept,
    make_recipe,
    markdown,
    read_arguments,
    write_maps,
)

ROWS, COLUMNS = 14, 100
TILES = ROWS * COLUMNS
CONTEXT, TOKENS = 672, 256
LENGTHS = (1, 84, 168, 252, 336, 420, 504, 588, 672)
WIDTHS = (18, 32, 64, 128, 256)
STURGEON = {18: "5", 32: "10.5", 64: "more than 280"}
TOGETHER = 8
STYLE = {"height": [ROWS, ROWS]}
CLOCK = time.process_time
"""Processor seconds: on one thread those of an idle machine, also on a busy one."""


def open_game(arguments: Any) -> tuple[TileModel, SceneGame, SceneRecipe]:
    """Open the given run, or fit a model on maps of our own generator."""
    if arguments.run is not None:
        recipe = scene_recipe(Run.open(arguments.run))
        return load_tile_model(arguments.run / "model")[0], load_scene_game(recipe), recipe
    generator = open_generator("platformer")
    levels = make_levels("platformer", 24, 11, style=STYLE)
    texts = {f"map-{number:02d}": level.to_text() for number, level in enumerate(levels)}
    maps = write_maps(arguments.out / "maps", texts, generator.TILES)
    data = {"format": "text", "rules": generator.RULES, "test": 0.0, "validation": 0.1}
    recipe = make_recipe(maps, 0, arguments.threads, data=data, train={"steps": arguments.steps})
    bench = Bench.begin(arguments.out / "runs" / "platformer", recipe)
    return bench.train().model, bench.game, recipe


def same_sized_gpt2(weights: int, layers: int) -> Any:
    """Return a GPT-2 with random weights and about as many of them, in as many blocks."""
    from transformers import GPT2Config, GPT2LMHeadModel

    def count(width: int) -> int:
        return layers * (12 * width * width + 13 * width) + (TOKENS + CONTEXT + 2) * width

    width = min(range(32, 2048, 8), key=lambda size: abs(count(size) - weights))
    config = GPT2Config(
        vocab_size=TOKENS, n_positions=CONTEXT, n_embd=width, n_layer=layers, n_head=4, use_cache=False,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    return GPT2LMHeadModel(config).eval()


@torch.inference_mode()
def gpt2_step(network: Any, length: int, batch: int) -> float:
    """Return the seconds of one step without a cache: all tokens so far through the network, then one draw."""
    tokens = torch.randint(TOKENS, (batch, length))
    began = CLOCK()
    logits = network(tokens, use_cache=False).logits[:, -1]
    torch.multinomial(torch.softmax(logits, dim=-1), 1)
    return CLOCK() - began


def gpt2_level(network: Any, batch: int, quick: bool) -> float:
    """Return the seconds of a level of 1,400 tiles, from sampled steps, for each of ``batch`` levels."""
    gpt2_step(network, 8, batch)
    lengths = LENGTHS[:3] if quick else LENGTHS
    steps = [min(gpt2_step(network, length, batch) for _ in range(2)) for length in lengths]
    at = np.minimum(np.arange(1, TILES + 1), lengths[-1])
    return float(np.interp(at, lengths, steps).sum() / batch)


def one_round(model: TileModel, game: SceneGame, recipe: SceneRecipe, number: int, arguments: Any) -> dict[str, float]:
    """Time both ways to decode, in turn."""
    sampler = make_sampler(model, game, recipe)
    columns = 10 if arguments.quick else COLUMNS
    network = same_sized_gpt2(model.parameters, model.network.shape.layers)  # type: ignore[union-attr]
    seconds = {"gpt2 weights": sum(p.numel() for p in network.parameters()), "our weights": model.parameters}
    for batch in (1, TOGETHER):
        began = CLOCK()
        made = sample_raw(sampler, game, [(ROWS, columns)] * batch, 100 + number, f"{batch} together")
        seconds[f"ours, {batch}"] = (CLOCK() - began) / batch * COLUMNS / columns
        seconds[f"ours, {batch}, by the clock"] = made.seconds / batch * COLUMNS / columns
        seconds[f"gpt2, {batch}"] = gpt2_level(network, batch, arguments.quick)
    return seconds


def verified(maker: Maker, width: int, batch: int, count: int, seed: int) -> dict[str, Any]:
    """Deliver levels of one width, some at a time; return the seconds of each time and how many came."""
    times, clock, delivered, samples, repairs = [], 0.0, 0, 0, 0
    for number in range(count):
        began = CLOCK()
        made = maker.deliver([(ROWS, width)] * batch, [[]] * batch, seed + number)
        times.append((CLOCK() - began) / max(1, len(made.levels)))
        clock += made.seconds
        delivered += len(made.levels)
        samples, repairs = samples + made.samples, repairs + made.repairs
    return {"width": width, "batch": batch, "asked": batch * count, "delivered": delivered, "seconds": times,
            "seconds by the clock": clock, "samples": samples, "repairs": repairs}  # fmt: skip


def growth(cells: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the exponent of seconds by width over single levels, with its bootstrap interval."""
    rng = np.random.default_rng(0)
    widths = np.log([cell["width"] for cell in cells])
    drawn = [
        np.polyfit(widths, [np.log(np.mean(rng.choice(cell["seconds"], len(cell["seconds"])))) for cell in cells], 1)[0]
        for _ in range(2000)
    ]
    value = np.polyfit(widths, [np.log(np.mean(cell["seconds"])) for cell in cells], 1)[0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": float(value), "low": float(low), "high": float(high)}


def ratio_text(rounds: Sequence[Mapping[str, float]], ours: str, theirs: str) -> tuple[str, float]:
    """Write how many times faster we are, as geometric mean over rounds, with its interval."""
    found = mean_interval([float(np.log(one[theirs] / one[ours])) for one in rounds])
    if found is None:
        return "-", 0.0
    value, low, high = np.exp([found.value, found.low, found.high])
    return f"{value:.0f} ({low:.0f} to {high:.0f})", float(value)


def decoding_table(rounds: Sequence[Mapping[str, float]]) -> str:
    """Return the table of decoding."""
    rows, reached = [], []
    for ours, theirs, what in (
        ("ours, 1", "gpt2, 1", "one level"),
        (f"ours, {TOGETHER}", f"gpt2, {TOGETHER}", f"{TOGETHER} together"),
        (f"ours, {TOGETHER}", "gpt2, 1", f"our {TOGETHER} together, its one level"),
    ):
        text, value = ratio_text(rounds, ours, theirs)
        reached.append(f"{what}: {'yes' if value >= 50 else 'NO'}")
        rows.append([what, *(f"{np.median([one[key] for one in rounds]):.2f}" for key in (ours, theirs)), text])
    head = ["1,400 tiles, seconds a level", "New Game+", "GPT-2 without a cache (extrapolated)", "times faster (95 %)"]
    sizes = f"{rounds[0]['our weights']:,} weights against {rounds[0]['gpt2 weights']:,}; {len(rounds)} rounds."
    return "\n".join([markdown(head, rows), "", f"{sizes} Aim of 50 times: {'; '.join(reached)}."])


def verified_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of verified levels."""
    rows = []
    for width in dict.fromkeys(cell["width"] for cell in cells):
        single, many = ([c for c in cells if c["width"] == width and c["batch"] == n] for n in (1, TOGETHER))
        one = mean_interval(single[0]["seconds"]) if single else None
        asked, got = (sum(c[key] for c in single + many) for key in ("asked", "delivered"))
        rows.append(
            [
                f"14 x {width}",
                f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" if one else "-",
                f"{np.mean(many[0]['seconds']):.2f}" if many else "-",
                f"{got} of {asked}",
                f"{sum(c['samples'] for c in single + many) / max(1, got):.2f}",
                f"{sum(c['repairs'] for c in single + many) / max(1, got):.1f}",
                STURGEON.get(width, ""),
            ]
        )
    head = ["verified level", "s, one at a time (95 %)", f"s a level, {TOGETHER} together", "delivered",
            "samples a level", "repairs a level", "Sturgeon, s (published)"]  # fmt: skip
    lines = [markdown(head, rows)]
    single = [cell for cell in cells if cell["batch"] == 1 and cell["delivered"]]
    if len(single) > 2:
        found = growth(single)
        at_64 = [np.mean(cell["seconds"]) for cell in single if cell["width"] == 64]
        aim = f"under 2 s at 64: {'yes' if at_64 and at_64[0] < 2 else 'NO'}"
        lines += ["", f"One at a time, seconds grow as width to the power {found['value']:.2f} ({found['low']:.2f} to "
                  f"{found['high']:.2f}); 1 is linear. Aim, {aim}."]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    defaults = {"steps": 150, "rounds": 3, "each": 4}
    arguments = read_arguments(__doc__, "results-speed", defaults, {"steps": 4, "rounds": 1, "each": 1})
    out = arguments.out
    model, game, recipe = open_game(arguments)
    torch.set_num_threads(arguments.threads)
    rounds = []
    for number in range(arguments.rounds):
        path = out / "cells" / f"round-{number}.json"
        rounds.append(kept(path, lambda n=number: one_round(model, game, recipe, n, arguments)))
        progress.say(f"round {number + 1} of {arguments.rounds}")
    maker = make_maker(make_sampler(model, game, recipe), game, recipe)
    cells: list[dict[str, Any]] = []
    text = decoding_table(rounds)
    for width in WIDTHS[: 3 if arguments.quick else None]:
        for batch, count in ((1, arguments.each), (TOGETHER, 1)):
            path = out / "cells" / f"verified-{width}-{batch}.json"
            cells.append(kept(path, lambda w=width, b=batch, c=count: verified(maker, w, b, c, 1000 * w + b)))
        results = {"decoding": rounds, "verified": cells}
        text = keep_results(out, "speed", results, f"{decoding_table(rounds)}\n\n{verified_table(cells)}")
    print(text)


if __name__ == "__main__":
    guarded(main)
