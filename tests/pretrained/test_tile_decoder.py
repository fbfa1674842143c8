"""Decoding with NumPy says what the network says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.small_tiles import FACTS, small_model

from newgameplus.pretrained.tile_decoder import TileDecoder
from newgameplus.pretrained.tile_network import TileNetwork
from newgameplus.pretrained.tile_tokens import LineTokens, encode_window


@pytest.mark.parametrize("levels", [1, 3])
def test_every_step_equals_the_network(levels: int) -> None:
    network = small_model().network
    assert isinstance(network, TileNetwork)
    rng = np.random.default_rng(levels)
    scans = [np.full((5, 4), -1, np.int32) for _ in range(levels)]
    wishes = rng.normal(size=(levels, network.shape.wishes)).astype(np.float32)
    decoder = TileDecoder(network)
    caches = [network.new_cache(levels) for _ in range(2)]
    with torch.inference_mode():
        for line in range(5):
            near = LineTokens(scans, wishes, line)
            decoder.begin_line(near)
            for place in range(4):
                told = decoder.step(place, caches[0])
                expected = network(near.at(place, "cpu"), caches[1])[:, 0].numpy()
                np.testing.assert_allclose(told, expected, atol=2e-5)
                for number in range(levels):
                    tile = int(rng.integers(len(FACTS)))
                    scans[number][line, place] = tile
                    near.put(number, place, tile)
    assert caches[0].length == caches[1].length == 20
    np.testing.assert_allclose(caches[0].keys[..., :20, :], caches[1].keys[..., :20, :], atol=2e-5)


def test_it_goes_on_from_what_the_network_read() -> None:
    network = small_model().network
    assert isinstance(network, TileNetwork)
    scan = np.random.default_rng(1).integers(len(FACTS), size=(4, 4)).astype(np.int32)
    wishes = np.zeros((5, network.shape.wishes), np.float32)
    cache = network.new_cache(1)
    with torch.inference_mode():
        window = encode_window(scan, wishes[:4], 0, 4, width=5)
        whole = encode_window(np.concatenate([scan, scan[:1]]), wishes, 0, 5)
        stacked = [type(w)(*(values[None] for values in vars(w).values())).to_tensors() for w in (window, whole)]
        network(stacked[0], cache)
        expected = network(stacked[1])[0, 16].numpy()
        near = LineTokens([np.concatenate([scan, np.full((1, 4), -1, np.int32)])], wishes[:1], 4)
        decoder = TileDecoder(network)
        decoder.begin_line(near)
        np.testing.assert_allclose(decoder.step(0, cache)[0], expected, atol=2e-5)
