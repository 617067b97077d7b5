"""The seam between the product and what speaks: the smallest interface that a batched GPU engine
and a CPU engine both fit."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from speakers.decoding import Waveform

# Whether a word's time was measured in the sound, or reckoned from pauses and syllables.
WordTiming = Literal["aligned", "estimated"]


class EngineError(Exception):
    """The engine cannot speak something, for good. ``detail`` is shown to the customer."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True)
class PreparedVoice:
    """What an engine made of a reference; ``data`` is its own and JSON."""

    mode: str  # "nearest_preset" | "adapted" | "cloned"
    similarity: float | None  # cosine of voice embeddings with the reference
    preset: str = ""  # taken in the tenant by this speaker; "" where the engine has none
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LineToSpeak:
    """One line of a script, as an engine needs it."""

    position: int  # gives the result its place: lines are done in any order
    text: str
    language: str
    speed: float  # 1.0 is the voice's own pace
    seed: int
    voice: Mapping[str, Any]  # a PreparedVoice's data
    tenant_id: str = ""  # tenants that share an engine take turns
    pronunciations: Mapping[str, str] = field(default_factory=dict)  # written -> spoken


@dataclass(frozen=True)
class SpokenWord:
    """A word of the line and where it is heard, in samples of the line's waveform."""

    text: str
    start_sample: int
    end_sample: int
    space_before: bool = True  # False: written without a space after the word before


@dataclass(frozen=True)
class SpokenLine:
    """A finished line: trimmed to the speech, so that its edges are the cue's edges."""

    position: int
    waveform: Waveform
    sample_rate: int  # Hz
    words: Sequence[SpokenWord]
    word_timing: WordTiming = "aligned"


@dataclass(frozen=True)
class Length:
    """How long a line will be, in milliseconds: as expected, and at most."""

    expected_ms: int
    longest_ms: int


@dataclass(frozen=True)
class FailedLine:
    """A line that this engine cannot speak however often it is asked."""

    position: int
    detail: str


class SpeechEngine(Protocol):
    """Something that speaks. One instance per process, used by many threads."""

    name: str
    on_gpu: bool  # whether what it takes is measured as a GPU's time

    def refusal(self, text: str, language: str) -> str | None:
        """Why this line cannot be spoken, as a sentence for the customer, or None.

        Cheap, and loads no model: the web process asks it at submit.
        """

    def notice(self, language: str) -> str | None:
        """What a customer should know about this language on this engine, or None."""

    def foreseen_ms(self, text: str, language: str, speed: float) -> Length:
        """How long a line will be. Cheap, and loads no model: the web process asks it at submit."""

    def prepare_voice(
        self,
        reference: Waveform,
        sample_rate: int,
        *,
        language: str,
        transcript: str,
        taken: Collection[str],
    ) -> PreparedVoice:
        """Make a voice of a reference, once. Raises EngineError.

        transcript: what is said in it, or "" where nobody said. taken: presets that the tenant's
        others have.
        """

    def speak(
        self, lines: Sequence[LineToSpeak], stopping: threading.Event
    ) -> Iterator[SpokenLine | FailedLine]:
        """Speak many lines at a time, yielding each as it is done, in any order.

        Once ``stopping`` is set, no line is begun any more, and the iterator ends with the lines in
        hand. Closing it stops what has not begun at once.
        """
