"""What fish-speech makes with real weights, judged by a recogniser, a voice encoder and a voice detector
that have no part in making it.

    FISH_CHECKPOINT_DIR=... FISH_RECOGNISER=... pytest -m fish_weights

FISH_RECOGNISER: a multilingual faster-whisper model on this machine. FISH_KOREAN_REFERENCE and
FISH_KOREAN_TRANSCRIPT: 30 s of a Korean voice and its words; without them the English voice speaks
Korean too. With no checkpoint named, the tiny random one is used and everything but quality is checked.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile
import soxr
import voicereel
import webrtcvad

pytest.importorskip("torch", reason="needs what requirements-gpu.txt installs")

from speakers.decoding import Waveform
from synthesis.engines.fish.checkpoint import CODEC_CONFIG_FILE
from synthesis.engines.fish.random_checkpoint import write_random_checkpoint
from synthesis.engines.speaker_encoder import embed, similarity
from tests.e2e.human_speech import OPENING, two_cities
from voicereel_site.local_stack import LocalStack

pytestmark = pytest.mark.fish_weights

ENGLISH = [
    "Good morning, and welcome back to the show.",
    "Thank you. It is good to be here again.",
    "Tell me about the house by the river.",
    "My grandfather built it after the war.",
    "Did he build all of it with his own hands?",
    "He had help from two of his brothers.",
    "And now you live there with your family.",
    "We moved in 3 years ago, on May 5.",
    "What do you like most about the place?",
    "The sound of the water when I wake up.",
]
KOREAN = [
    "안녕하세요, 다시 오신 것을 환영합니다.",
    "감사합니다. 다시 뵙게 되어 반갑습니다.",
    "강가에 있는 집 이야기를 들려주세요.",
    "할아버지께서 전쟁이 끝난 뒤에 지으셨어요.",
    "혼자서 모두 지으신 건가요?",
    "형제 두 분이 함께 도와주셨어요.",
    "지금은 가족과 함께 살고 계시지요?",
    "3년 전 봄에 이사했어요.",
    "그 집에서 가장 좋아하는 것은 무엇인가요?",
    "아침에 일어나면 들리는 물소리요.",
]
# What listeners take for good: the published error rates of fish-speech 1.5 are 3.5 % of English words
# and 1.3 % of characters; these leave room for names and the recogniser's own errors.
MOST_WORD_ERRORS = 0.08
MOST_CHARACTER_ERRORS = 0.10
# Of Resemblyzer's embeddings; recordings of one person are at 0.8 to 0.9, of two at 0.5 to 0.7.
LEAST_SIMILARITY = 0.75
MOST_CUE_ERROR_MS = 120


@dataclass
class Spoken:
    """A finished script at 16 kHz, and its captions' cues."""

    language: str
    texts: Sequence[str]
    job: voicereel.Job
    waveform: Waveform
    cues: list[dict[str, Any]]

    @cached_property
    def lines(self) -> list[tuple[int, int]]:
        """Start and end of each line, in samples at 16 kHz."""
        edges = []
        for index in range(len(self.texts)):
            of_line = [cue for cue in self.cues if cue["line_id"] == str(index + 1)]
            edges.append((of_line[0]["start_ms"] * 16, of_line[-1]["end_ms"] * 16))
        return edges


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if named := os.environ.get("FISH_CHECKPOINT_DIR"):
        return Path(named)
    folder = tmp_path_factory.mktemp("checkpoint")
    write_random_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def real(checkpoint: Path) -> bool:
    """Whether the weights are real, and quality can be asked for."""
    return not (checkpoint / CODEC_CONFIG_FILE).exists()


@pytest.fixture(scope="module")
def client(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[voicereel.Client]:
    folder = tmp_path_factory.mktemp("fish")
    environment = {
        "VOICEREEL_VAR": str(folder / "var"),
        "VOICEREEL_ENGINE": "fish",
        "FISH_CHECKPOINT_DIR": str(checkpoint),
    }
    with (
        (folder / "server.log").open("ab") as log,
        LocalStack(environment=environment, log=log) as stack,
        voicereel.Client(stack.manage("create_tenant", "Alder"), stack.url) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def references() -> dict[str, tuple[Path, str, str]]:
    """Recording, transcript and language, for each language to be spoken."""
    english = (two_cities(), OPENING, "en")
    korean = os.environ.get("FISH_KOREAN_REFERENCE")
    if not korean:
        return {"en": english, "ko": english}
    return {"en": english, "ko": (Path(korean), os.environ["FISH_KOREAN_TRANSCRIPT"], "ko")}


@pytest.fixture(scope="module")
def spoken(
    client: voicereel.Client,
    references: dict[str, tuple[Path, str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Spoken]:
    folder = tmp_path_factory.mktemp("spoken")
    results = []
    for language, texts in (("en", ENGLISH), ("ko", KOREAN)):
        path, transcript, own = references[language]
        made = client.register_speaker(
            f"Voice for {language}", path, consent=True, language=own, transcript=transcript
        )
        speaker = client.wait_for_speaker(made.id, timeout_s=600)
        assert speaker.voice_mode == "cloned"
        lines = [{"speaker_id": speaker.id, "text": text, "language": language} for text in texts]
        job = client.wait_for_job(
            client.synthesize(lines, output={"format": "wav"}, seed=1).id, timeout_s=600
        )
        audio = client.download_audio(job, folder / f"{language}.wav")
        captions = client.download_captions(job, "json", folder / f"{language}.json")
        waveform, sample_rate = soundfile.read(audio, dtype="float32")
        assert job.audio is not None
        assert round(len(waveform) * 1000 / sample_rate) == pytest.approx(
            job.audio.duration_ms, abs=1
        )
        cues = json.loads(captions.read_text())["cues"]
        results.append(
            Spoken(language, texts, job, soxr.resample(waveform, sample_rate, 16_000), cues)
        )
    return results


def test_every_line_is_there_with_its_words(spoken: list[Spoken]) -> None:
    for result in spoken:
        written = [
            " ".join(cue["text"] for cue in result.cues if cue["line_id"] == str(index + 1))
            for index in range(10)
        ]
        assert written == list(result.texts)
        assert {cue["word_timing"] for cue in result.cues} == {
            "aligned" if result.language == "en" else "estimated"
        }
        for start, end in result.lines:
            assert np.sqrt(np.mean(result.waveform[start:end] ** 2)) > 1e-3


def _plain(text: str, language: str) -> str:
    kept = re.sub(r"[^\w' ]" if language == "en" else r"[\W_]", " ", text.lower())
    return " ".join(kept.split()) if language == "en" else kept.replace(" ", "")


def test_a_recogniser_understands_it(spoken: list[Spoken], real: bool) -> None:
    if not real:
        return
    from faster_whisper import WhisperModel

    whisper = WhisperModel(os.environ["FISH_RECOGNISER"], local_files_only=True)
    for result in spoken:
        segments, _ = whisper.transcribe(result.waveform, language=result.language, beam_size=5)
        heard = _plain(" ".join(segment.text for segment in segments), result.language)
        written = _plain(" ".join(result.texts), result.language)
        if result.language == "en":
            assert jiwer.wer(written, heard) <= MOST_WORD_ERRORS, heard
        else:
            assert jiwer.cer(written, heard) <= MOST_CHARACTER_ERRORS, heard


def test_it_sounds_like_its_reference(
    spoken: list[Spoken], references: dict[str, tuple[Path, str, str]], real: bool
) -> None:
    for result in spoken:
        reference, sample_rate = soundfile.read(references[result.language][0], dtype="float32")
        near = similarity(embed(reference, sample_rate), embed(result.waveform, 16_000))
        assert -1 <= near <= 1
        if real:
            assert near >= LEAST_SIMILARITY, result.language


def test_cues_begin_and_end_where_a_detector_hears_speech(spoken: list[Spoken], real: bool) -> None:
    detector = webrtcvad.Vad(2)
    for result in spoken:
        errors_ms = []
        for index, (start, end) in enumerate(result.lines):
            before = result.lines[index - 1][1] if index else 0
            after = result.lines[index + 1][0] if index < 9 else len(result.waveform)
            first = (before + start) // 2
            around = result.waveform[first : (end + after) // 2]
            pcm = (np.clip(around, -1, 1) * 32767).astype("<i2")
            frames = pcm[: len(pcm) // 160 * 160].reshape(-1, 160)
            heard = [i for i, f in enumerate(frames) if detector.is_speech(f.tobytes(), 16_000)]
            if heard:
                errors_ms += [
                    (first + heard[0] * 160 - start) / 16,
                    (first + (heard[-1] + 1) * 160 - end) / 16,
                ]
        if real:
            assert len(errors_ms) == 20
            assert np.mean(np.abs(errors_ms) <= MOST_CUE_ERROR_MS) >= 0.9, errors_ms
