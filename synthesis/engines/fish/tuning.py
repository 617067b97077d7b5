"""Measures tile shapes on this GPU: once, at the first start of an engine on it.

Every kernel has a few candidate shapes; each is run as often as a step runs it, and the fastest whose
result agrees with the default's is taken. Takes about a minute.
"""

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import structlog
import torch
from triton.runtime.errors import OutOfResources

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
        (32, 128, 2, 4, 4), (32, 128, 4, 4, 2), (64, 128, 4, 4, 2), (32, 64, 1, 4, 3),
    ],
    "wo": [
        (16, 128, 1, 4, 4), (16, 256, 1, 4, 4), (16, 512, 1, 4, 2), (32, 128, 2, 4, 4),
        (32, 128, 4, 4, 2), (64, 128, 4, 4, 2), (32, 256, 4, 4, 1), (32, 64, 1, 4, 3),
    ],
    "w13": [
        (32, 128, 1, 4, 4), (32, 64, 1, 4, 6), (32, 128, 1, 8, 4), (16, 256, 1, 4, 3),
        (64, 64, 1, 4, 5), (64, 128, 2, 4, 3), (64, 64, 2, 4, 6), (32, 64, 1, 4, 3),
    ],
    "w2": [
        (32, 128, 4, 4, 4), (32, 256, 4, 4, 3), (64, 128, 8, 4, 4), (64, 64, 8, 4, 6),
        (32, 128, 8, 4, 4), (32, 64, 4, 4, 3), (64, 256, 8, 4, 2),
    ],
}  # fmt: skip
_ATTENTION = [
    (128, 1, 4, 2), (64, 1, 4, 4), (128, 2, 4, 2), (128, 4, 4, 1), (64, 4, 4, 2), (64, 2, 4, 3),
    (64, 8, 4, 1), (32, 4, 4, 1),
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
    # The first fast pass has two tokens a row.
    counts = sorted(count for rows in decoder.buckets for count in (rows, 2 * rows))
    for size, rows in {str(row_class(count)): count for count in counts}.items():
        for kind, candidates in _LINEAR.items():
            tiles.linear[f"{kind}.{size}"] = best_tile(
                f"{kind}.{size}",
                tiles.for_linear(kind, rows),
                (LinearTile(*values) for values in candidates),
                partial(decoder.try_linear, kind, rows),
                measure,
            )
        # The heads are as deep as qkv and a little narrower.
        tiles.linear[f"head.{size}"] = tiles.linear[f"qkv.{size}"]
    for rows in decoder.buckets:
        size = str(row_class(rows))
        tiles.attention[size] = best_tile(
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
        tiles.convolution[key] = best_tile(
            f"convolution.{key}",
            tiles.for_convolution(channels, channels),
            (ConvolutionTile(*values) for values in shapes),
            partial(vocoder.try_convolution, channels),
            measure,
        )


def best_tile(
    name: str,
    default: Tile,
    candidates: Iterable[Tile],
    attempt: Callable[[Tile], tuple[Callable[[], None], torch.Tensor]],
    measure: Measure,
) -> Tile:
    """The fastest of the default and the candidates. attempt: a run with a tile, and what it fills.

    One that this GPU has not the shared memory for is passed over, and one whose result differs from
    the first's. Raises RuntimeError if none can run.
    """
    expected: torch.Tensor | None = None
    best, best_s = default, float("inf")
    for tile in itertools.chain([default], (tile for tile in candidates if tile != default)):
        run, result = attempt(tile)
        try:
            run()
            found = result.float()
        except (RuntimeError, OutOfResources) as exc:
            log.info("engine.tile_refused", kernel=name, tile=tuple(tile), reason=str(exc)[:100])
            continue
        if expected is None:
            expected = found.clone()
        if (found - expected).norm() > _AGREES * expected.norm():
            log.warning("engine.tile_differs", kernel=name, tile=tuple(tile))
            continue
        seconds = measure(run)
        if seconds < best_s:
            best, best_s = tile, seconds
    if expected is None:
        raise RuntimeError(f"No shape of {name} runs on this GPU.")
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
