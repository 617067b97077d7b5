"""Tile shapes of the kernels: how a matrix product is cut up decides most of its speed.

The defaults were measured on an H100. Another GPU is measured once, at the first start, and what was
found is kept in a file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self


class LinearTile(NamedTuple):
    """Columns and depth of a tile, programs that share the depth, warps, pipeline stages."""

    columns: int
    depth: int
    split: int
    warps: int
    stages: int


class AttentionTile(NamedTuple):
    """Positions read at a time, programs that share them, warps, pipeline stages."""

    positions: int
    split: int
    warps: int
    stages: int


class ConvolutionTile(NamedTuple):
    """Samples, channels and depth of a tile, warps, pipeline stages."""

    samples: int
    channels: int
    depth: int
    warps: int
    stages: int


# kind.rows -> tile. Measured on one H100 80GB (torch 2.11, triton 3.6).
_LINEAR = {
    "qkv.16": LinearTile(16, 256, 1, 4, 4),
    "qkv.64": LinearTile(16, 256, 1, 4, 4),
    "qkv.128": LinearTile(32, 128, 2, 4, 4),
    "wo.16": LinearTile(16, 256, 1, 4, 4),
    "wo.64": LinearTile(16, 128, 1, 4, 4),
    "wo.128": LinearTile(16, 128, 1, 4, 4),
    "w13.16": LinearTile(32, 128, 1, 4, 4),
    "w13.64": LinearTile(32, 128, 1, 4, 4),
    "w13.128": LinearTile(64, 64, 1, 4, 5),
    "w2.16": LinearTile(64, 64, 8, 4, 6),
    "w2.64": LinearTile(32, 128, 4, 4, 4),
    "w2.128": LinearTile(32, 128, 4, 4, 4),
    "head.16": LinearTile(16, 256, 1, 4, 4),
    "head.64": LinearTile(16, 256, 1, 4, 4),
    "head.128": LinearTile(32, 128, 2, 4, 4),
}
_ATTENTION = {
    "16": AttentionTile(128, 4, 4, 1),
    "64": AttentionTile(64, 1, 4, 4),
    "128": AttentionTile(64, 1, 4, 4),
}
# Channels in, channels out.
_CONVOLUTION = {
    "256.256": ConvolutionTile(64, 256, 64, 8, 3),
    "128.128": ConvolutionTile(64, 128, 64, 4, 3),
    "64.64": ConvolutionTile(128, 64, 64, 8, 3),
    "32.32": ConvolutionTile(128, 32, 32, 4, 4),
    "16.16": ConvolutionTile(256, 16, 16, 4, 5),
}


def row_class(rows: int) -> int:
    """Of so many rows: 16, 32, 64 or 128."""
    size = 16
    while size < rows and size < 128:
        size *= 2
    return size


@dataclass
class Tiles:
    """The shapes in use. Half precision; float32, which only tests use, has shapes of its own."""

    linear: dict[str, LinearTile] = field(default_factory=lambda: dict(_LINEAR))
    attention: dict[str, AttentionTile] = field(default_factory=lambda: dict(_ATTENTION))
    convolution: dict[str, ConvolutionTile] = field(default_factory=lambda: dict(_CONVOLUTION))

    def for_linear(self, kind: str, rows: int) -> LinearTile:
        size = row_class(rows)
        return self.linear.get(f"{kind}.{size}") or self.linear[f"{kind}.64"]

    def for_attention(self, rows: int) -> AttentionTile:
        return self.attention.get(str(row_class(rows))) or self.attention["64"]

    def for_convolution(self, channels: int, outputs: int) -> ConvolutionTile:
        if found := self.convolution.get(f"{channels}.{outputs}"):
            return found
        width = next(size for size in (16, 32, 64, 128) if size >= min(outputs, 128))
        return ConvolutionTile(128, width, 64, 8 if width == 128 else 4, 3)

    def save(self, path: Path, gpu: str) -> None:
        """Keep what was measured on a GPU."""
        tables = {
            "linear": self.linear,
            "attention": self.attention,
            "convolution": self.convolution,
        }
        path.write_text(json.dumps({"gpu": gpu, **tables}, indent=1))

    @classmethod
    def load(cls, path: Path, gpu: str) -> Self | None:
        """What was kept for this GPU, or None."""
        try:
            found: Mapping[str, Any] = json.loads(path.read_text())
            if found["gpu"] != gpu:
                return None
            return cls(
                {name: LinearTile(*tile) for name, tile in found["linear"].items()},
                {name: AttentionTile(*tile) for name, tile in found["attention"].items()},
                {name: ConvolutionTile(*tile) for name, tile in found["convolution"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
