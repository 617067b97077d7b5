"""What listeners hear: a line by each variant, equally loud, equally long, and as many bytes."""

import io
from functools import lru_cache

import numpy as np
import soundfile
from django.core.files.storage import default_storage

from accounts.tenancy import acting_for
from speakers.decoding import Waveform
from synthesis.comparison.comparisons import CLIP_RATE, jobs_of
from synthesis.models import Comparison, Job, Line
from synthesis.timeline import PlacedLine, place_lines
from voicereel_site.errors import not_found

# Quiet enough that the peaks of a lively voice stay below full scale without being limited.
_TARGET_LUFS = -23.0
_HIGHEST_PEAK = 0.89  # -1 dBFS
_TAIL_S = 0.2
_LINES_REMEMBERED = 8  # a process's; one takes 2 MB, and at most (six voices, half a minute) 12


def clip(comparison: Comparison, line: int, position: int) -> bytes:
    """A line of a variant as a WAV file. Of a comparison that is open. Raises not_found if what was rendered
    has been erased meanwhile.
    """
    try:
        return _clips(comparison.tenant_id, comparison.pk, line)[position]
    except FileNotFoundError as exc:
        raise not_found("clip") from exc


@lru_cache(_LINES_REMEMBERED)
def _clips(tenant_id: str, comparison_id: str, line: int) -> dict[int, bytes]:
    """A line by all variants, by their positions."""
    with acting_for(tenant_id):
        comparison = Comparison.objects.for_tenant(tenant_id).get(pk=comparison_id)
        sounds = {position: _sound_of(job, line) for position, job in jobs_of(comparison).items()}
    return matched(sounds, CLIP_RATE)


def _sound_of(job: Job, line: int) -> Waveform:
    rows = Line.objects.for_tenant(job.tenant_id).filter(job=job).with_names()
    spoken = [one.as_clip() for one in rows]
    placed: PlacedLine = place_lines(spoken, CLIP_RATE).lines[line]
    with default_storage.open(job.audio_key, "rb") as file, soundfile.SoundFile(file) as sound:
        sound.seek(placed.start_sample)
        found: Waveform = sound.read(placed.end_sample - placed.start_sample, dtype="float32")
    return found


def matched(sounds: dict[int, Waveform], sample_rate: int) -> dict[int, bytes]:
    """Waveforms as WAV files of one loudness (LUFS) and one length, float32 in [-1, 1] at sample_rate."""
    # It brings SciPy, a third of the time that a web process takes to start.
    from synthesis.audio import loudness

    length = max(map(len, sounds.values())) + round(_TAIL_S * sample_rate)
    padded = {
        position: np.pad(sound, (0, length - len(sound))) for position, sound in sounds.items()
    }
    gains = {}
    for position, sound in padded.items():
        lufs = loudness(sound, sample_rate)
        gains[position] = 10 ** ((_TARGET_LUFS - lufs) / 20) if np.isfinite(lufs) else 1.0
    highest = max(
        float(np.max(np.abs(sound))) * gains[position] for position, sound in padded.items()
    )
    # All of them softer, should one be too peaky: they stay equal.
    softer = min(1.0, _HIGHEST_PEAK / highest) if highest else 1.0
    files = {}
    for position, sound in padded.items():
        buffer = io.BytesIO()
        level = sound * gains[position] * softer
        soundfile.write(buffer, level, sample_rate, format="WAV", subtype="PCM_16")
        files[position] = buffer.getvalue()
    return files
