"""Codes -> samples for a few chunks at a time: what stands behind the decoder.

A chunk has at most ``CHUNK_FRAMES`` of its own; a longer line is spoken chunk by chunk, each with so much
of the line's past before it that the whole is the same.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from speakers.decoding import Waveform
from synthesis.engines.fish.codec import Codec

CHUNK_FRAMES = 256


class PendingAudio(Protocol):
    """Samples that are being made."""

    def ready(self) -> bool: ...

    def read(self) -> list[Waveform]:
        """One waveform for each chunk. Waits for them."""


class Vocoder(Protocol):
    """Used by one thread."""

    group: int  # chunks at a time at most

    def start(self, chunks: Sequence[torch.Tensor]) -> PendingAudio:
        """chunks: codes [codebooks, frames] on the device, at most ``group``."""


def cut(codes: torch.Tensor, context: int) -> list[tuple[torch.Tensor, int]]:
    """A line's codes as chunks, each with the frames of context that it begins with."""
    chunks = []
    for start in range(0, codes.shape[1], CHUNK_FRAMES):
        past = min(context, start)
        chunks.append((codes[:, start - past : start + CHUNK_FRAMES], past))
    return chunks


class ReferenceVocoder:
    """The codec's own decoder, a chunk at a time, at once."""

    group = 1

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def start(self, chunks: Sequence[torch.Tensor]) -> PendingAudio:
        return _Done([self._codec.decode(chunk).cpu().numpy() for chunk in chunks])


class _Done:
    def __init__(self, waveforms: list[Waveform]) -> None:
        self._waveforms = waveforms

    def ready(self) -> bool:
        return True

    def read(self) -> list[Waveform]:
        return [np.asarray(waveform, np.float32) for waveform in self._waveforms]
