"""The outline of a finished audio file, for players to draw: its peaks, a byte each."""

import numpy as np

from speakers.decoding import Waveform

MOST_PEAKS = 2_000  # a screen has no more columns


class Outline:
    """Takes the samples of a file as they are written, of which there will be ``sample_count``.

    >>> outline = Outline(len(waveform))
    >>> outline.add(waveform)
    >>> outline.peaks()
    """

    def __init__(self, sample_count: int) -> None:
        self._step = max(1, -(-sample_count // MOST_PEAKS))
        self._peaks = np.zeros(-(-sample_count // self._step), dtype=np.float32)
        self._at = 0

    def add(self, waveform: Waveform) -> None:
        """waveform: the next samples, float32 in [-1, 1]."""
        if not len(waveform):
            return
        first = self._at // self._step
        # Where within the piece each step begins; the first goes on with what was there.
        starts = np.arange(first * self._step, self._at + len(waveform), self._step) - self._at
        starts[0] = 0
        highest = np.maximum.reduceat(np.abs(waveform), starts)
        stretch = self._peaks[first : first + len(highest)]
        np.maximum(stretch, highest[: len(stretch)], out=stretch)
        self._at += len(waveform)

    def peaks(self) -> bytes:
        """The highest magnitude of each step, 255 being full scale."""
        return np.ceil(np.clip(self._peaks, 0, 1) * 255).astype(np.uint8).tobytes()
