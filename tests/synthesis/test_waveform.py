"""The outline of an audio file is the same however its samples come."""

import numpy as np
import pytest

from synthesis.waveform import MOST_PEAKS, Outline


def outlined(waveform: np.ndarray, pieces: list[int]) -> bytes:
    outline = Outline(len(waveform))
    at = 0
    for size in pieces:
        outline.add(waveform[at : at + size])
        at += size
    outline.add(waveform[at:])
    return outline.peaks()


@pytest.mark.parametrize("samples", [1, 7, 1_999, 2_000, 2_001, 44_100, 123_457])
def test_each_peak_is_the_highest_of_its_stretch(samples: int) -> None:
    waveform = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    step = max(1, -(-samples // MOST_PEAKS))
    wanted = bytes(
        int(np.ceil(np.abs(waveform[start : start + step]).max() * 255))
        for start in range(0, samples, step)
    )
    assert outlined(waveform, []) == wanted
    assert outlined(waveform, [1, 0, 3, samples // 2]) == wanted
    assert len(wanted) <= MOST_PEAKS


def test_what_is_beyond_full_scale_is_full_scale() -> None:
    assert outlined(np.array([0.0, -2.0, 0.5], dtype=np.float32), []) == bytes([0, 255, 128])
