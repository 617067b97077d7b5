"""What the front ends of all languages give to Kokoro: phonemes that know their word."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Phones:
    """Some phonemes and the word (its index) they belong to; None for a pause mark."""

    word: int | None
    phonemes: str  # characters of Kokoro's vocabulary
    space_after: bool


class FrontEnd(Protocol):
    """Turns the words of one stretch of text into phonemes, in order."""

    def __call__(self, words: Sequence[str]) -> list[Phones]: ...
