"""How long a script's audio will be, before it is spoken: as expected, and at most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthesis.engines.base import SpeechEngine
from synthesis.timeline import pause_ms


@dataclass(frozen=True)
class Foreseen:
    """Milliseconds. No more than longest_ms is billed, whatever is spoken."""

    expected_ms: int
    longest_ms: int


def foresee(
    script: Sequence[Mapping[str, Any]], languages: Sequence[str], engine: SpeechEngine
) -> Foreseen:
    """The length of a script's audio with its pauses. script: as SynthesizeRequest validated it."""
    expected = longest = 0
    last = len(script) - 1
    for index, (line, language) in enumerate(zip(script, languages, strict=True)):
        following = None if index == last else script[index + 1]["speaker_id"]
        pause = pause_ms(line.get("pause_after_ms"), line["speaker_id"], following)
        length = engine.foreseen_ms(line["text"], language, line.get("speed", 1.0))
        expected += length.expected_ms + pause
        longest += length.longest_ms + pause
    return Foreseen(expected, longest)
