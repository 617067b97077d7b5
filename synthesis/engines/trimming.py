"""Where a spoken line begins and ends, so that a cue's edges are what is heard."""

import numpy as np

from speakers.decoding import Waveform

_FRAME_S = 0.005
# A frame is speech if it is within this of the loudest: breath and decay lie below.
_BELOW_LOUDEST_DB = 38.0
# Kept around the speech: soft onsets and decays, which detectors also hear as speech.
_BEFORE_S = 0.010
_AFTER_S = 0.060
_FADE_S = 0.005


def speech_edges(waveform: Waveform, sample_rate: int) -> tuple[int, int]:
    """The first and one past the last sample of speech, by energy; (0, 0) for silence."""
    size = round(_FRAME_S * sample_rate)
    count = len(waveform) // size
    if not count:
        return 0, 0
    rms = np.sqrt(np.mean(np.square(waveform[: count * size].reshape(count, size)), axis=1))
    loudest = float(rms.max())
    if loudest < 1e-4:
        return 0, 0
    active = np.flatnonzero(rms > loudest * 10 ** (-_BELOW_LOUDEST_DB / 20))
    first = int(active[0]) * size - round(_BEFORE_S * sample_rate)
    last = int(active[-1] + 1) * size + round(_AFTER_S * sample_rate)
    return max(0, first), min(len(waveform), last)


def faded(waveform: Waveform, sample_rate: int) -> Waveform:
    """The waveform with 5 ms fades at its ends, so that a cut does not click."""
    length = min(round(_FADE_S * sample_rate), len(waveform) // 2)
    ramp = np.linspace(0.0, 1.0, length, dtype=np.float32)
    result = waveform.copy()
    result[:length] *= ramp
    result[len(result) - length :] *= ramp[::-1]
    return result
