"""Measures tile shapes on this GPU: once, at the first start of an engine on it.

Every kernel has a few candidate shapes; each is run as often as a step runs it, and the fastest whose
result agrees with the default's is taken. Takes about a minute.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import structlog
import torch

from synthesis.engines.fish.checkpoint import Weights
from synthesis.engines.fish.cuda_graphs import Launch
from synthesis.engines.fish.fast_decoder import FastDecoder
from synthesis.engines.fish.fast_vocoder import FastVocoder
from synthesis.engines.fish.slots import Sizes
from synthesis.engines.fish.tiles import (
    AttentionTile,
    ConvolutionTile,
    LinearTile,
    Tiles,
    row_class,
)
from synthesis.engines.fish.weights import DecoderWeights

log = structlog.get_logger(__name__)

Measure = Callable[[Callable[[], None]], float]
Tile = TypeVar("Tile", LinearTile, AttentionTile, ConvolutionTile)

_LINEAR = {
    "qkv": [
        (16, 256, 1, 4, 3), (16, 256, 1, 4, 4), (16, 512, 1, 4, 2), (32, 256, 2, 4, 2),
        (32, 128, 2, 4, 4), (32, 128, 4, 4, 2), (64, 128, 4, 4, 2),
    ],
    "wo": [
        (16, 128, 1, 4, 4), (16, 256, 1, 4, 4), (16, 512, 1, 4, 2), (32, 128, 2, 4, 4),
        (32, 128, 4, 4, 2), (64, 128, 4, 4, 2), (32, 256, 4, 4, 1),
    ],
    "w13": [
        (32, 128, 1, 4, 4), (32, 64, 1, 4, 6), (32, 128, 1, 8, 4), (16, 256, 1, 4, 3),
        (64, 64, 1, 4, 5), (64, 128, 2, 4, 3), (64, 64, 2, 4, 6),
    ],
    "w2": [
        (32, 128, 4, 4, 4), (32, 256, 4, 4, 3), (64, 128, 8, 4, 4), (64, 64, 8, 4, 6),
        (32, 128, 8, 4, 4), (64, 256, 8, 4, 2),
    ],
}  # fmt: skip
_ATTENTION = [
    (128, 1, 4, 2), (64, 1, 4, 4), (128, 2, 4, 2), (128, 4, 4, 1), (64, 4, 4, 2), (64, 2, 4, 3),
    (64, 8, 4, 1),
]  # fmt: skip
_CONVOLUTION = {
    256: [(128, 128, 64, 8, 3), (128, 256, 64, 8, 3), (64, 256, 64, 8, 3), (128, 128, 32, 4, 4)],
    128: [(128, 128, 64, 8, 3), (64, 128, 64, 4, 3), (128, 64, 64, 4, 4), (128, 128, 32, 4, 4)],
    64: [(128, 64, 64, 4, 3), (128, 64, 64, 8, 3), (64, 64, 64, 4, 4), (256, 64, 32, 8, 4)],
    32: [(128, 32, 64, 4, 3), (256, 32, 64, 4, 3), (128, 32, 32, 4, 4), (256, 32, 32, 4, 4)],
    16: [(128, 16, 64, 4, 3), (256, 16, 64, 4, 3), (128, 16, 32, 4, 4), (256, 16, 16, 4, 5)],
}  # fmt: skip
# Relative to the default's result: two orders of rounding in half precision.
_AGREES = 2e-2
_POSITION = 345  # of a typical row in its middle: 10 s of reference, a line, its frames


def tuned(weights: DecoderWeights, codec: Weights, sizes: Sizes) -> Tiles:
    """The fastest shapes on this GPU."""
    tiles = Tiles()
    tune_decoder(weights, sizes, tiles, gpu_seconds)
    tune_vocoder(codec, weights, tiles, gpu_seconds)
    return tiles


def tune_decoder(weights: DecoderWeights, sizes: Sizes, tiles: Tiles, measure: Measure) -> None:
    """Put the decoder's fastest shapes into ``tiles``. measure: seconds that a function takes."""
    decoder = FastDecoder(weights, sizes, tiles)
    decoder.position.fill_(min(_POSITION, sizes.positions - 1))
    for rows in decoder.buckets:
        size = str(row_class(rows))
        for kind, candidates in _LINEAR.items():
            tiles.linear[f"{kind}.{size}"] = _best(
                f"{kind}.{size}",
                tiles.for_linear(kind, rows),
                (LinearTile(*values) for values in candidates),
                partial(decoder.try_linear, kind, rows),
                measure,
            )
        # The heads are as deep as qkv and a little narrower.
        tiles.linear[f"head.{size}"] = tiles.linear[f"qkv.{size}"]
        tiles.attention[size] = _best(
            f"attention.{size}",
            tiles.for_attention(rows),
            (AttentionTile(*values) for values in _ATTENTION),
            partial(decoder.try_attention, rows),
            measure,
        )


def tune_vocoder(codec: Weights, weights: DecoderWeights, tiles: Tiles, measure: Measure) -> None:
    """The same for the vocoder."""
    vocoder = FastVocoder(codec, weights.architecture.firefly, weights.device, tiles)
    for channels, shapes in _CONVOLUTION.items():
        key = f"{channels}.{channels}"
        tiles.convolution[key] = _best(
            f"convolution.{key}",
            tiles.for_convolution(channels, channels),
            (ConvolutionTile(*values) for values in shapes),
            partial(vocoder.try_convolution, channels),
            measure,
        )


def _best(
    name: str,
    default: Tile,
    candidates: Iterable[Tile],
    attempt: Callable[[Tile], tuple[Callable[[], None], torch.Tensor]],
    measure: Measure,
) -> Tile:
    """The fastest candidate that computes what the default does. attempt: a run, and what it fills."""
    run, result = attempt(default)
    run()
    expected = result.float().clone()
    best, best_s = default, measure(run)
    for tile in candidates:
        if tile == default:
            continue
        try:
            run, result = attempt(tile)
            run()
            error = float((result.float() - expected).norm() / expected.norm().clamp_min(1e-12))
            seconds = measure(run) if error < _AGREES else float("inf")
        except RuntimeError as exc:  # more shared memory than this GPU has
            log.info("engine.tile_refused", kernel=name, tile=tuple(tile), reason=str(exc)[:100])
            continue
        if seconds < best_s:
            best, best_s = tile, seconds
    log.info("engine.tile", kernel=name, tile=tuple(best), microseconds=round(best_s * 1e6, 2))
    return best


def gpu_seconds(run: Callable[[], None]) -> float:
    """The median of some replays as a graph, by the GPU's clock."""
    launch = Launch(run, torch.device("cuda"), torch.cuda.Stream())
    times = []
    for _ in range(12):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        launch()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return sorted(times)[len(times) // 2]
