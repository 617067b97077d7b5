"""How alike two voices sound: the GE2E encoder of Resemblyzer, as ONNX, without torch.

The model is in ``speaker_encoder.onnx`` (see NOTICE; ``make speaker-encoder`` exports it again).
It takes power spectrograms; the mel filters are inside it.
"""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from speakers.decoding import Waveform
from speakers.voice_activity import voice_activity

# Resemblyzer's own numbers (hparams.py, audio.py): 16 kHz, windows of 25 ms every 10 ms, and
# partial utterances of 160 windows.
_RATE = 16_000
_WINDOW = 400
_HOP = 160
_FRAMES = 160
_STEP = 77  # 1.3 partial utterances a second
_LEVEL_DBFS = -30.0

Embedding = npt.NDArray[np.float32]  # shape (256,), of length 1


@cache
def _session():  # type: ignore[no-untyped-def]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(Path(__file__).with_name("speaker_encoder.onnx")),
        options,
        providers=["CPUExecutionProvider"],
    )


def embed(waveform: Waveform, sample_rate: int) -> Embedding:
    """The voice of a waveform (rate in Hz; at least 1.6 s of speech for a steady answer)."""
    at_16k = soxr.resample(waveform, sample_rate, _RATE, quality="HQ")
    activity = voice_activity(at_16k, _RATE)
    size = round(activity.frame_s * _RATE)
    spoken = np.repeat(np.array(activity.speaking, dtype=bool), size)[: len(at_16k)]
    if spoken.any():
        at_16k = at_16k[: len(spoken)][spoken]
    rms = float(np.sqrt(np.mean(np.square(at_16k)))) or 1e-6
    # Only ever louder, as Resemblyzer does it.
    at_16k = at_16k * max(1.0, 10 ** (_LEVEL_DBFS / 20) / rms)
    power = _power_spectrogram(at_16k.astype(np.float32))
    if len(power) < _FRAMES:
        power = np.pad(power, ((0, _FRAMES - len(power)), (0, 0)))
    starts = range(0, len(power) - _FRAMES + 1, _STEP)
    partials = np.stack([power[start : start + _FRAMES] for start in starts])
    (embeddings,) = _session().run(None, {"power": partials})
    mean = embeddings.mean(axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def _power_spectrogram(waveform: Waveform) -> npt.NDArray[np.float32]:
    """Shape (windows, 201), as librosa computes it: centred, Hann, zero-padded."""
    padded = np.pad(waveform, _WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    return (np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2).astype(np.float32)


def similarity(one: Embedding, other: Embedding) -> float:
    """Cosine: above 0.9 for the same voice, 0.5 to 0.6 for two different ones (measured)."""
    return float(one @ other)
