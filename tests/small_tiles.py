"""Small tile models with random weights, levels for them, and a tiny GPT-2 in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from newgameplus.games.conditions import FEATURES, column_counts
from newgameplus.games.measures import measure
from newgameplus.games.scanning import to_scan
from newgameplus.games.scenes import Level
from newgameplus.pretrained.tile_model import TileFacts, TileModel, meaning_table
from newgameplus.pretrained.tile_network import TileNetwork, TileNetworkShape
from newgameplus.pretrained.tile_tokens import TileTokens, encode_window
from newgameplus.train.levels import LevelExample

KINDS = ("empty", "solid", "enemy", "goal", "key")
LEGEND = {".": ("empty",), "#": ("solid",), "e": ("enemy",), "g": ("goal",)}
FACTS = tuple(TileFacts(name, meanings) for name, meanings in LEGEND.items())
MEASURES = ("enemies", "gaps", "density")
WORDS = ("solid", "enemy", "empty", "goal", "one", "way")


def small_model(
    seed: int = 0, tiles: Sequence[TileFacts] = FACTS, measures: Sequence[str] = MEASURES, context: int = 48
) -> TileModel:
    """Return a model of two small blocks whose every part has a say."""
    torch.manual_seed(seed)
    shape = TileNetworkShape(
        len(tiles), len(KINDS), len(measures) * FEATURES, width=24, layers=2, heads=2, embedding=8, context=context
    )
    network = TileNetwork(shape, meaning_table(tuple(tiles), KINDS))
    with torch.no_grad():
        network.bias.normal_()
        network.answer_own.normal_()
        network.answer_meant.normal_()
    return TileModel("bundled:small", network.eval(), tuple(tiles), tuple(measures), KINDS, {"license": "none"})


def random_scan(rng: np.random.Generator, columns: int, rows: int, tiles: int = len(FACTS)) -> np.ndarray:
    """int32 [columns, rows]."""
    return rng.integers(0, tiles, (columns, rows)).astype(np.int32)


def random_wishes(rng: np.random.Generator, columns: int, measures: int = len(MEASURES)) -> np.ndarray:
    """float32 [columns, features]."""
    return rng.normal(size=(columns, measures * FEATURES)).astype(np.float32)


def batch_of(scans: Sequence[np.ndarray], wishes: Sequence[np.ndarray]) -> TileTokens:
    """Whole levels of one size as a batch of tensors."""
    parts = [encode_window(scan, wish, 0, len(scan)) for scan, wish in zip(scans, wishes, strict=True)]
    return TileTokens(*(np.stack([getattr(part, name) for part in parts]) for name in vars(parts[0]))).to_tensors()


def cut_tokens(tokens: TileTokens, start: int, end: int) -> TileTokens:
    """The tokens from ``start`` to ``end`` of every level of a batch."""
    return TileTokens(*(value[:, start:end] for value in vars(tokens).values()))


@torch.no_grad()
def logits_of(model: TileModel, tokens: TileTokens) -> Tensor:
    """float32 [batch, tokens, tiles] by one full pass."""
    answer: Tensor = model.network(tokens)
    return answer


def example_of(level: Level, measures: Sequence[str] = MEASURES, weight: float | None = None) -> LevelExample:
    """A level as training takes it, with all it measures told."""
    return LevelExample(
        to_scan(level.tiles, "columns"), measure(level, measures), column_counts(level, measures), weight=weight
    )


def stripes(count: int, seed: int = 0, columns: int = 12, rows: int = 4) -> list[Level]:
    """Levels of alternating columns: solid and empty ones by turns, which of the two is first by chance."""
    rng = np.random.default_rng(seed)
    template = Level.from_text(".", LEGEND)
    levels = []
    for _ in range(count):
        line = (np.arange(columns) + int(rng.integers(2))) % 2
        levels.append(template.with_tiles(np.tile(line, (rows, 1)).astype(np.int32)))
    return levels


def save_gpt2(folder: Path, *, tokenizer: bool = False, positions: int = 96) -> Path:
    """Write a tiny GPT-2 with random weights, and a tokenizer of a few words if asked."""
    import transformers

    torch.manual_seed(3)
    config = transformers.GPT2Config(
        vocab_size=len(WORDS) + 1, n_positions=positions, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    network = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    if tokenizer:
        from tokenizers import Tokenizer, models, pre_tokenizers

        words = Tokenizer(models.WordLevel({"?": 0} | {w: n + 1 for n, w in enumerate(WORDS)}, unk_token="?"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?").save_pretrained(folder)
    return folder
