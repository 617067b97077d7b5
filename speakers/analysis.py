"""What a reference recording is worth: speech seconds, loudness, clipping, noise."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from speakers import stored_sentences as stored
from speakers.decoding import Waveform
from speakers.voice_activity import Activity, voice_activity

SPEECH_NEEDED_S = 20.0
_QUIET_LUFS = -40.0
_CLIPPED_PERCENT = 0.1
_NOISY_DB = 15.0


@dataclass(frozen=True)
class Quality:
    """The report shown to the customer."""

    speech_ms: int
    loudness_lufs: float | None  # None: silence
    clipped_percent: float
    signal_to_noise_db: float | None  # None: no pause to measure the noise in
    warnings: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def analyse(waveform: Waveform, sample_rate: int) -> Quality:
    """Measure a reference. ``sample_rate`` in Hz; the waveform should be at least 0.4 s long."""
    # It brings SciPy, which takes a third of the time that a process takes to start, and few need it.
    import pyloudnorm

    activity = voice_activity(waveform, sample_rate)
    loudness: float | None = float(pyloudnorm.Meter(sample_rate).integrated_loudness(waveform))
    if loudness is not None and not np.isfinite(loudness):
        loudness = None
    clipped = float(np.mean(np.abs(waveform) >= 0.999) * 100)
    noise = _signal_to_noise_db(waveform, sample_rate, activity)
    warnings = []
    if loudness is not None and loudness < _QUIET_LUFS:
        warnings.append(stored.QUIET % {"loudness": f"{loudness:.0f}"})
    if clipped > _CLIPPED_PERCENT:
        warnings.append(stored.CLIPPED % {"percent": f"{clipped:.1f}"})
    if noise is not None and noise < _NOISY_DB:
        warnings.append(stored.NOISY % {"noise_db": f"{noise:.0f}"})
    return Quality(
        speech_ms=round(activity.speech_s * 1000),
        loudness_lufs=None if loudness is None else round(loudness, 1),
        clipped_percent=round(clipped, 2),
        signal_to_noise_db=None if noise is None else round(noise, 1),
        warnings=warnings,
    )


def failure_reasons(quality: Quality) -> list[dict[str, str]]:
    """Why a reference cannot be used, each with what to do; empty if it can."""
    if quality.speech_ms >= SPEECH_NEEDED_S * 1000:
        return []
    return [
        {
            "code": "too_little_speech",
            "detail": stored.TOO_LITTLE_SPEECH
            % {
                "found_s": f"{quality.speech_ms / 1000:.1f}",
                "needed_s": f"{SPEECH_NEEDED_S:.0f}",
            },
        }
    ]


def _signal_to_noise_db(waveform: Waveform, sample_rate: int, activity: Activity) -> float | None:
    """Mean power of the speech frames over that of the others, in dB."""
    size = int(activity.frame_s * sample_rate)
    count = min(len(activity.speaking), len(waveform) // size)
    power = np.mean(np.square(waveform[: count * size].reshape(count, size)), axis=1)
    speaking = np.array(activity.speaking[:count], dtype=bool)
    if not speaking.any() or speaking.all():
        return None
    floor = max(float(np.mean(power[~speaking])), 1e-10)  # -100 dBFS, below 16 bits
    return float(10 * np.log10(max(float(np.mean(power[speaking])), 1e-10) / floor))
