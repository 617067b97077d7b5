"""Moving a preset voice towards a reference: its pitch, and the colour of its spectrum.

Both are linear and keep every time: the pitch is a factor inside the network, the colour a
symmetric filter.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, idct
from scipy.signal import firwin2, oaconvolve

from speakers.decoding import Waveform

_WINDOW_S = 0.04
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 400.0
_PITCH_LIMITS = (0.8, 1.25)  # beyond that the voice sounds processed
_BANDS_HZ = np.linspace(100.0, 7500.0, 38)
_SMOOTHNESS = 12  # cosine terms kept of the difference: colour, not phonemes
_STRENGTH = 0.6  # of the difference; more of it measured worse
_LARGEST_DB = 10.0
_TAPS = 511


def pitch_hz(waveform: Waveform, sample_rate: int) -> float | None:
    """The median pitch of the voiced windows, by autocorrelation; None if none is voiced."""
    size = round(_WINDOW_S * sample_rate)
    low, high = round(sample_rate / _HIGHEST_HZ), round(sample_rate / _LOWEST_HZ)
    windows = np.lib.stride_tricks.sliding_window_view(waveform, size)[:: size // 2]
    windows = windows - windows.mean(axis=1, keepdims=True)
    energy = np.mean(np.square(windows), axis=1)
    windows = windows[energy > 0.05 * energy.max(initial=0.0)]
    if not len(windows):
        return None
    spectrum = np.abs(np.fft.rfft(windows, 2 * size, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, axis=1)[:, :size]
    # The overlap shrinks with the lag; without this the shortest period would always win.
    correlation /= np.arange(size, 0, -1)
    best = low + np.argmax(correlation[:, low:high], axis=1)
    strength = correlation[np.arange(len(best)), best] / np.maximum(correlation[:, 0], 1e-12)
    voiced = best[strength > 0.6]
    return float(sample_rate / np.median(voiced)) if len(voiced) else None


def pitch_ratio(target: Waveform, target_rate: int, voice: Waveform, voice_rate: int) -> float:
    """The factor on the voice's pitch that gives it the target's, within what sounds natural."""
    wanted, found = pitch_hz(target, target_rate), pitch_hz(voice, voice_rate)
    if wanted is None or found is None:
        return 1.0
    return round(float(np.clip(wanted / found, *_PITCH_LIMITS)), 3)


def band_gains_db(
    target: Waveform, target_rate: int, voice: Waveform, voice_rate: int
) -> list[float]:
    """Gains in dB, over _BANDS_HZ, that move the voice's long-term spectrum towards the target's."""
    difference = _long_term_db(target, target_rate) - _long_term_db(voice, voice_rate)
    terms = dct(difference, norm="ortho")
    terms[0] = 0.0  # the level is not the colour
    terms[_SMOOTHNESS:] = 0.0
    gains = np.clip(_STRENGTH * idct(terms, norm="ortho"), -_LARGEST_DB, _LARGEST_DB)
    return [round(float(gain), 2) for gain in gains]


def apply(waveform: Waveform, gains_db: Sequence[float], sample_rate: int = 24_000) -> Waveform:
    """The waveform with its colour changed, at the same length and times."""
    nyquist = sample_rate / 2
    frequencies = np.concatenate([[0.0], _BANDS_HZ, [nyquist]]) / nyquist
    gains = 10 ** (np.array([gains_db[0], *gains_db, gains_db[-1]]) / 20)
    taps = firwin2(_TAPS, frequencies, gains)
    return oaconvolve(waveform, taps, mode="same").astype(np.float32)


def _long_term_db(waveform: Waveform, sample_rate: int) -> npt.NDArray[np.float64]:
    """The mean spectrum of the louder windows, in dB over _BANDS_HZ."""
    size = round(_WINDOW_S * sample_rate)
    windows = np.lib.stride_tricks.sliding_window_view(waveform, size)[:: size // 2]
    power = np.abs(np.fft.rfft(windows * np.hanning(size), axis=1)) ** 2
    energy = power.sum(axis=1)
    mean = np.log(power[energy > 0.1 * np.quantile(energy, 0.9)] + 1e-12).mean(axis=0)
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    return np.interp(_BANDS_HZ, frequencies, mean) * 10 / np.log(10)
