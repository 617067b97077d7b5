"""The mel filters that the codec's encoder was trained with."""

import numpy as np
import numpy.typing as npt

from synthesis.engines.fish.architecture import FireflyShape

# Slaney 1998, Auditory Toolbox (Technical Report 1998-010): linear to 1 kHz, then logarithmic.
_LINEAR_HZ = 200.0 / 3
_KNEE_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


def _to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _LINEAR_HZ
    return float(_KNEE_HZ / _LINEAR_HZ + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def mel_filters(firefly: FireflyShape) -> npt.NDArray[np.float32]:
    """Triangular filters of equal area, [mels, fft / 2 + 1], from 0 Hz to half the sample rate."""
    top = firefly.sample_rate // 2
    mels = np.linspace(0.0, _to_mel(top), firefly.mels + 2)
    knee = _KNEE_HZ / _LINEAR_HZ
    linear = mels * _LINEAR_HZ
    edges = np.where(mels < knee, linear, _KNEE_HZ * np.exp(_LOG_STEP * (mels - knee)))
    bins = np.linspace(0, top, firefly.fft // 2 + 1)
    widths = np.diff(edges)
    slopes = edges[:, None] - bins
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    filters *= (2 / (edges[2:] - edges[:-2]))[:, None]
    return np.ascontiguousarray(filters, dtype=np.float32)
