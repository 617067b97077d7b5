"""Captions against the audio that was really written: the burst of every line begins at its cue.

Lossless files must agree to the sample; after a lossy decoder 20 ms are allowed.
"""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthesis.audio import write_audio
from synthesis.captions import make_cues
from synthesis.engines.base import LineToSpeak, SpokenLine
from synthesis.engines.tone import ToneEngine
from synthesis.formats import FORMATS, OutputChoice, choose_output
from synthesis.timeline import SpokenClip, Timeline, place_lines
from tests.synthesis.listening import burst_onset_s, decode

PAIRS = [
    (fmt.name, rate, depth)
    for fmt in FORMATS.values()
    for rate in fmt.sample_rates
    for depth in ((16, 24) if fmt.lossless and rate == 44_100 else (None,))
]
THREE_MINUTES_OF_LINES = 12
CHARACTERS = 245  # of 60 ms: lines of 14.7 s, which with their pauses make three minutes


def speak_to(folder: Path, lines: int, characters: int) -> list[SpokenClip]:
    """Have the tone engine speak lines and keep them as the product does."""
    voice = {"pitch_hz": 220, "level": 0.5}
    clips = []
    for index in range(lines):
        text = "a" * characters
        (spoken,) = ToneEngine().speak(
            [LineToSpeak(index, text, "en", 1.0, 0, voice)], threading.Event()
        )
        assert isinstance(spoken, SpokenLine)
        soundfile.write(
            folder / f"{index}.flac", spoken.waveform, spoken.sample_rate, subtype="PCM_24"
        )
        words = [(w.text, w.start_sample, w.end_sample, True) for w in spoken.words]
        # An odd pause, so that lines do not begin on round samples.
        clips.append(
            SpokenClip(
                str(index),
                f"spk_{index % 2}",
                "Anna",
                "en",
                text,
                len(spoken.waveform),
                spoken.sample_rate,
                words,
                "aligned",
                317,
            )
        )
    return clips


def write(folder: Path, clips: list[SpokenClip], output: OutputChoice) -> tuple[Path, Timeline]:
    timeline = place_lines(clips, output.sample_rate)
    path = folder / f"audio.{output.format}"

    def read_line(index: int) -> tuple[np.ndarray, int]:
        return soundfile.read(folder / f"{index}.flac", dtype="float32")

    write_audio(path, timeline, read_line, output)
    return path, timeline


def assert_in_sync(path: Path, timeline: Timeline, output: OutputChoice) -> None:
    """The first, the middle and the last line begin where their cues say, and all is inside."""
    sound, rate = decode(path)
    cues = {cue.line.line_id: cue.start_sample for cue in reversed(make_cues(timeline))}
    allowed_s = 1 / timeline.sample_rate if FORMATS[output.format].lossless else 0.020
    for line in (timeline.lines[0], timeline.lines[len(timeline.lines) // 2], timeline.lines[-1]):
        cue_s = cues[line.line_id] / timeline.sample_rate
        assert abs(burst_onset_s(sound, rate, cue_s) - cue_s) <= allowed_s
    assert make_cues(timeline)[-1].end_sample / timeline.sample_rate <= len(sound) / rate


@pytest.fixture(scope="module")
def three_minutes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SpokenClip]]:
    folder = tmp_path_factory.mktemp("lines")
    return folder, speak_to(folder, THREE_MINUTES_OF_LINES, CHARACTERS)


@pytest.mark.parametrize(("name", "sample_rate", "bit_depth"), PAIRS)
def test_three_minutes_are_in_sync_in_every_format_at_every_rate(
    three_minutes: tuple[Path, list[SpokenClip]], name: str, sample_rate: int, bit_depth: int | None
) -> None:
    folder, clips = three_minutes
    output, errors = choose_output(name, sample_rate, None, bit_depth)
    assert output is not None, errors
    path, timeline = write(folder, clips, output)
    assert timeline.duration_ms >= 179_000
    assert_in_sync(path, timeline, output)


def peak_memory_bytes() -> int:
    """The most memory this process has held. getrusage would also count its parent's, before exec."""
    status = Path("/proc/self/status").read_text()
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak) * 1024


def render_and_report(folder: Path, lines: int, characters: int, output: OutputChoice) -> None:
    """Run in a process of its own: prints its peak memory in bytes before anything is decoded."""
    clips = speak_to(folder, lines, characters)
    path, timeline = write(folder, clips, output)
    peak = peak_memory_bytes()
    assert_in_sync(path, timeline, output)
    print(json.dumps({"peak_bytes": peak, "duration_ms": timeline.duration_ms}))


def _in_a_process(
    folder: Path, lines: int, characters: int, output: OutputChoice
) -> dict[str, int]:
    folder.mkdir()
    program = (
        "from pathlib import Path\n"
        "from synthesis.formats import OutputChoice\n"
        "from tests.synthesis.test_sync import render_and_report\n"
        f"render_and_report(Path({str(folder)!r}), {lines}, {characters}, {output!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, int] = json.loads(done.stdout)
    return report


@pytest.mark.services
@pytest.mark.parametrize(
    ("name", "sample_rate"),
    [
        ("wav", 44_100),
        pytest.param("mp3", 44_100, marks=pytest.mark.drills),
        pytest.param("opus", 48_000, marks=pytest.mark.drills),
    ],
)
def test_an_hour_of_1000_lines_neither_drifts_nor_grows(
    tmp_path: Path, name: str, sample_rate: int
) -> None:
    output, errors = choose_output(name, sample_rate, None, None)
    assert output is not None, errors
    # 1,000 lines of 55 characters of 60 ms, and 317 ms after each: an hour.
    hour = _in_a_process(tmp_path / "hour", 1000, 55, output)
    minute = _in_a_process(tmp_path / "minute", 17, 55, output)
    assert hour["duration_ms"] >= 3_600_000
    assert minute["duration_ms"] >= 60_000
    assert hour["peak_bytes"] - minute["peak_bytes"] <= 150_000_000
