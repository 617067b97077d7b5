"""What a reference says, where the customer did not tell: speech recognition on the worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import soxr

from speakers.decoding import Waveform

_RATE = 16_000  # Hz, what Whisper takes


@dataclass(frozen=True)
class HeardWord:
    """A word with its punctuation, and where it is heard."""

    text: str
    start_s: float
    end_s: float


class Recogniser(Protocol):
    """Hears words. Another recogniser than ours takes its place by having this method."""

    def words(self, waveform: Waveform, sample_rate: int, language: str) -> Sequence[HeardWord]:
        """What is said, in order. ``language``: a base code such as ko."""


class WhisperRecogniser:
    """faster-whisper with a model that lies on this machine; nothing is downloaded."""

    def __init__(self, model_path: str, device: str, index: int) -> None:
        self._path, self._device, self._index = model_path, device, index

    @cached_property
    def _model(self) -> Any:
        from faster_whisper import WhisperModel

        kind = "float16" if self._device == "cuda" else "int8"
        return WhisperModel(
            self._path,
            device=self._device,
            device_index=self._index,
            compute_type=kind,
            local_files_only=True,
        )

    def words(self, waveform: Waveform, sample_rate: int, language: str) -> Sequence[HeardWord]:
        at_16k = soxr.resample(waveform, sample_rate, _RATE, quality="HQ")
        segments, _ = self._model.transcribe(
            at_16k, language=language, word_timestamps=True, condition_on_previous_text=False
        )
        return [
            HeardWord(word.word.strip(), float(word.start), float(word.end))
            for segment in segments
            for word in segment.words or ()
            if word.word.strip()
        ]
