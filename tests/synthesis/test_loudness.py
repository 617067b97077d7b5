"""Loudness of finished files, measured by a meter that is not the one that set it."""

import itertools
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt

from synthesis.audio import limit, write_audio
from synthesis.formats import OutputChoice, choose_output
from synthesis.timeline import SpokenClip, Timeline, place_lines
from tests.synthesis.listening import Sound, decode, loudness

Voices = list[tuple[str, Sound, int]]  # speaker, a line's waveform, its rate in Hz

OUTPUTS = [
    ("wav", 8_000),
    ("wav", 44_100),
    ("wav", 48_000),
    ("flac", 24_000),
    ("mp3", 8_000),
    ("mp3", 24_000),
    ("mp3", 44_100),
    ("mp3", 48_000),
    ("opus", 8_000),
    ("opus", 24_000),
    ("opus", 48_000),
    ("m4a", 8_000),
    ("m4a", 24_000),
    ("m4a", 44_100),
    ("m4a", 48_000),
]


def chosen(name: str, sample_rate: int) -> OutputChoice:
    output, errors = choose_output(name, sample_rate, None, None)
    assert output is not None, errors
    return output


def _syllables(seconds: float, sample_rate: int, *, rate_hz: float) -> Sound:
    """Swelling and fading a few times a second, with a pause every two seconds."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    swell = np.clip(np.sin(2 * np.pi * rate_hz * t), 0, None) ** 1.5
    return (swell * (t % 2 < 1.6)).astype(np.float32)


def made_up_voices() -> Voices:
    """Three speakers at 0, -20 and -10 dB: a low buzz, a high one, and a whisper."""
    rate = 24_000
    rng = np.random.default_rng(7)
    voices: Voices = []
    for index in range(9):
        seconds = 2.5 + index % 4
        t = np.arange(round(seconds * rate)) / rate
        speaker = index % 3
        if speaker < 2:
            pitch = (110, 220)[speaker] * (1 + 0.03 * np.sin(2 * np.pi * 3 * t))
            phase = 2 * np.pi * np.cumsum(pitch) / rate
            sound = sum(np.sin(k * phase) / k for k in range(1, 16))
        else:
            noise = rng.standard_normal(len(t))
            sound = sosfilt(butter(2, [300, 3400], "bandpass", fs=rate, output="sos"), noise)
        sound = sound / np.abs(sound).max() * _syllables(seconds, rate, rate_hz=3 + speaker)
        level = 0.9 * 10 ** (-(0, 20, 10)[speaker] / 20)
        voices.append((f"speaker {speaker}", (level * sound).astype(np.float32), rate))
    return voices


def real_voices() -> Voices:
    """A reading of A Tale of Two Cities, cut into lines of two speakers 20 dB apart."""
    path = files("moonshine_voice") / "assets" / "two_cities.wav"
    sound, rate = soundfile.read(str(path), dtype="float32")
    edges = [round(second * rate) for second in (0, 6, 11, 18, 23, 30, 37, 44)]
    return [
        (
            f"speaker {index % 2}",
            (sound[start:end] * (1.0 if index % 2 else 0.1)).astype(np.float32),
            rate,
        )
        for index, (start, end) in enumerate(itertools.pairwise(edges))
    ]


def timeline_of(voices: Voices, sample_rate: int) -> Timeline:
    return place_lines(
        [
            SpokenClip(
                str(index),
                speaker,
                speaker,
                "en",
                "Line.",
                len(sound),
                rate,
                [("Line.", 0, len(sound), True)],
                "aligned",
                None,
            )
            for index, (speaker, sound, rate) in enumerate(voices)
        ],
        sample_rate,
    )


def mixed(folder: Path, voices: Voices, output: OutputChoice) -> tuple[Timeline, Sound, int]:
    """The file of some voices, decoded again."""
    timeline = timeline_of(voices, output.sample_rate)
    path = folder / f"audio.{output.format}"
    write_audio(path, timeline, lambda index: voices[index][1:], output)
    return timeline, *decode(path)


def speakers_lufs(timeline: Timeline, sound: Sound, sample_rate: int) -> dict[str, float]:
    """How loud each speaker is: the lines, cut out by their cues, one after another."""
    lines: dict[str, list[Sound]] = {}
    for line in timeline.lines:
        start, end = (
            round(sample * sample_rate / timeline.sample_rate)
            for sample in (line.start_sample, line.end_sample)
        )
        lines.setdefault(line.speaker_id, []).append(sound[start:end])
    return {
        speaker: loudness(np.concatenate(own), sample_rate).integrated_lufs
        for speaker, own in lines.items()
    }


def _assert_even(folder: Path, voices: Voices, output: OutputChoice) -> None:
    timeline, sound, rate = mixed(folder, voices, output)
    heard = loudness(sound, rate)
    each = speakers_lufs(timeline, sound, rate)
    assert heard.integrated_lufs == pytest.approx(-16.0, abs=0.5)
    assert heard.true_peak_dbtp <= -1.0
    assert max(each.values()) - min(each.values()) <= 1.0


@pytest.mark.parametrize(("name", "sample_rate"), OUTPUTS)
def test_speakers_20_db_apart_come_out_equally_loud_at_minus_16_lufs_and_under_minus_1_dbtp(
    tmp_path: Path, name: str, sample_rate: int
) -> None:
    _assert_even(tmp_path, made_up_voices(), chosen(name, sample_rate))


@pytest.mark.parametrize(("name", "sample_rate"), OUTPUTS)
def test_real_speech_20_db_apart_comes_out_equally_loud_at_minus_16_lufs_and_under_minus_1_dbtp(
    tmp_path: Path, name: str, sample_rate: int
) -> None:
    _assert_even(tmp_path, real_voices(), chosen(name, sample_rate))


@pytest.mark.parametrize("name", ["mp3", "opus", "m4a"])
def test_the_true_peak_holds_at_a_low_bitrate_too(tmp_path: Path, name: str) -> None:
    output = OutputChoice(name, 24_000, 32, None)
    _, sound, rate = mixed(tmp_path, real_voices(), output)
    assert loudness(sound, rate).true_peak_dbtp <= -1.0


def test_a_whispered_line_stays_quieter_than_its_speakers_others(tmp_path: Path) -> None:
    voices = [voice for voice in made_up_voices() if voice[0] == "speaker 0"]
    voices[1] = (voices[1][0], voices[1][1] * np.float32(0.25), voices[1][2])
    timeline, sound, rate = mixed(tmp_path, voices, chosen("wav", 24_000))
    before = [loudness(waveform, 24_000).integrated_lufs for _, waveform, _ in voices[:2]]
    after = [
        loudness(sound[line.start_sample : line.end_sample], rate).integrated_lufs
        for line in timeline.lines[:2]
    ]
    assert before[0] - before[1] > 8.0
    # These made-up voices are peakier than speech: the limiter takes some from the louder one.
    assert after[0] - after[1] > (before[0] - before[1]) / 3


def test_silence_stays_silence(tmp_path: Path) -> None:
    voices: Voices = [("anna", np.zeros(24_000, np.float32), 24_000)]
    _, sound, _ = mixed(tmp_path, voices, chosen("wav", 44_100))
    assert not sound.any()


def _square(sample_rate: int, frequencies: Sequence[int]) -> Sound:
    """Bursts with steep edges, whose peaks lie between the samples, and silence between them."""
    t = np.arange(sample_rate // 2) / sample_rate
    bursts = [
        np.pad(np.sign(np.sin(2 * np.pi * frequency * t + 0.7)), (0, sample_rate // 4))
        for frequency in frequencies
    ]
    return np.concatenate(bursts).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [8_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("gain", [1.0, 8.0])
def test_the_limiter_lets_no_steep_burst_pass_minus_1_dbtp(sample_rate: int, gain: float) -> None:
    sound = _square(sample_rate, [97, 440, 1_371, 3_001]) * np.float32(gain)
    # Band-limited, as all that comes out of the resampler is.
    sos = butter(8, 0.45 * sample_rate, fs=sample_rate, output="sos")
    sound = sosfilt(sos, sound).astype(np.float32)
    before = loudness(sound, sample_rate).true_peak_dbtp
    after = loudness(limit(sound, sample_rate, -1.2), sample_rate).true_peak_dbtp
    assert before > 0
    assert after <= -1.0


def test_the_limiter_leaves_what_lies_under_the_ceiling_as_it_is() -> None:
    rng = np.random.default_rng(1)
    quiet = (0.1 * np.clip(rng.standard_normal(60_000), -3, 3)).astype(np.float32)
    assert np.array_equal(limit(quiet, 24_000, -1.2), quiet)
    # Near the ceiling, where the limiter has to look closer; and around a loud place too.
    tone = (0.8 * np.sin(2 * np.pi * 220 * np.arange(48_000) / 24_000)).astype(np.float32)
    assert np.allclose(limit(tone, 24_000, -1.2), tone, atol=1e-6)
    tone[24_000:24_010] = 4.0
    limited = limit(tone, 24_000, -1.2)
    assert np.allclose(limited[:23_000], tone[:23_000], atol=1e-6)
    assert np.allclose(limited[25_000:], tone[25_000:], atol=1e-6)
    assert np.abs(limited).max() < 0.9
