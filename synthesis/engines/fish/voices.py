"""From a speaker's reference to the prompt that every line of that speaker begins with."""

import base64
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import soxr

from speakers.decoding import Waveform
from synthesis.engines.base import EngineError, PreparedVoice
from synthesis.engines.fish.codec import Codec, Codes
from synthesis.engines.fish.languages import base_language
from synthesis.engines.fish.line_text import spoken_text
from synthesis.engines.fish.recogniser import HeardWord, Recogniser
from synthesis.engines.fish.stretch import best_stretch
from synthesis.engines.fish.tokens import Prompt, Prompts
from synthesis.engines.fish.word_times import AlignmentFailed, word_times
from synthesis.stored_sentences import (
    NO_TRANSCRIPT,
    NO_WORDS,
    NOT_THE_WORDS,
    OTHER_VOICE_MODEL,
)
from synthesis.words import UNSPACED_LANGUAGES

# Of a reference that has to be recognised: enough to choose from; a customer may send ten minutes.
_RECOGNISED_S = 120.0
_KEPT_PROMPTS = 256  # 23 KB each for 30 s
_PROMPT_IDLE_S = 900.0


class VoiceMaker:
    """Makes voices; used by many threads."""

    def __init__(self, codec: Codec, codec_version: str, recogniser: Recogniser | None) -> None:
        self._codec, self._version, self._recogniser = codec, codec_version, recogniser
        # Each is on the device and works for one at a time.
        self._encoding, self._recognising = threading.Lock(), threading.Lock()

    def prepare(
        self, reference: Waveform, sample_rate: int, language: str, transcript: str
    ) -> PreparedVoice:
        """Choose the best stretch, encode it, and find its words. Raises EngineError."""
        words = self._words(reference, sample_rate, language, transcript)
        spaced = base_language(language) not in UNSPACED_LANGUAGES
        stretch = best_stretch(reference, sample_rate, words, spaced=spaced)
        if stretch is None:
            raise EngineError(NO_WORDS)
        part = reference[round(stretch.start_s * sample_rate) : round(stretch.end_s * sample_rate)]
        rate = self._codec.firefly.sample_rate
        if sample_rate != rate:
            part = soxr.resample(part, sample_rate, rate, quality="VHQ")
        with self._encoding:
            codes = self._codec.encode(part)
        return PreparedVoice(
            "cloned",
            None,
            data={
                "codes": base64.b64encode(codes.astype("<i2").tobytes()).decode(),
                "transcript": stretch.transcript,
                "audio_sha256": hashlib.sha256(part.tobytes()).hexdigest(),
                "codec": self._version,
            },
        )

    def _words(
        self, reference: Waveform, sample_rate: int, language: str, transcript: str
    ) -> list[HeardWord]:
        if transcript.strip():
            return _aligned(reference, sample_rate, language, transcript)
        if self._recogniser is None:
            raise EngineError(NO_TRANSCRIPT)
        heard = reference[: round(_RECOGNISED_S * sample_rate)]
        with self._recognising:
            return list(self._recogniser.words(heard, sample_rate, base_language(language)))


def _aligned(
    reference: Waveform, sample_rate: int, language: str, transcript: str
) -> list[HeardWord]:
    """The customer's words, where they are heard."""
    text = spoken_text(transcript, language, {})
    try:
        found = word_times(reference, sample_rate, text.words, text.spoken, language)
    except AlignmentFailed as exc:
        raise EngineError(NOT_THE_WORDS) from exc
    # What is spoken, not what is written: the model is told what it hears.
    return [
        HeardWord(spoken, start / sample_rate, end / sample_rate)
        for spoken, (start, end) in zip(text.spoken, found.spans, strict=True)
        if spoken
    ]


class PromptShelf:
    """Voices' prompts in host memory, by tenant, audio, transcript and codec: never one for two
    tenants, though their audio be the same. Bounded; used by many threads.
    """

    def __init__(self, prompts: Prompts, codebooks: int, codec_version: str) -> None:
        self._prompts, self._codebooks, self._version = prompts, codebooks, codec_version
        self._kept: OrderedDict[Hashable, tuple[Prompt, float]] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, tenant: str, voice: Mapping[str, Any]) -> Hashable:
        """What tells a voice apart. Raises EngineError if it was made with another codec."""
        if voice.get("codec") != self._version:
            raise EngineError(OTHER_VOICE_MODEL)
        transcript = hashlib.sha256(str(voice["transcript"]).encode()).hexdigest()
        return tenant, voice["audio_sha256"], transcript, self._version

    def prompt(self, key: Hashable, voice: Mapping[str, Any]) -> Prompt:
        """The voice's part of a prompt, [1 + codebooks, positions]."""
        with self._lock:
            now = time.monotonic()
            # What nobody has used for a while, be it because its speaker was deleted, goes.
            while self._kept and now - next(iter(self._kept.values()))[1] > _PROMPT_IDLE_S:
                self._kept.popitem(last=False)
            if key in self._kept:
                prompt, _ = self._kept.pop(key)
                self._kept[key] = prompt, now
                return prompt
        prompt = self._prompts.voice(str(voice["transcript"]), self._codes(voice))
        with self._lock:
            self._kept[key] = prompt, now
            while len(self._kept) > _KEPT_PROMPTS:
                self._kept.popitem(last=False)
        return prompt

    def _codes(self, voice: Mapping[str, Any]) -> Codes:
        flat = np.frombuffer(base64.b64decode(voice["codes"]), dtype="<i2")
        return flat.reshape(self._codebooks, -1)
