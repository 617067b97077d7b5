"""Text -> token ids, and the prompt that fish-speech 1.5 was trained on.

A prompt is an array [1 + codebooks, positions] of int32: row 0 holds text and semantic tokens, the
rows below the audio codes of a semantic token, and 0 beside text.
"""

import base64
import binascii
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tiktoken

from synthesis.engines.fish.architecture import SEMANTIC_TOKENS

Prompt = npt.NDArray[np.int32]

# How the vocabulary was made to cut text; the file holds only its ranks.
_PATTERN = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"\p{P}",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(\?!\S)",
        r"\s+",
    )
)
# In this order they follow the ranks of the file.
_CONTROL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|pad|>",
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|placeholder:{index}|>" for index in range(4)),
    "<|text|>",
    "<|voice|>",
    "<|interleave|>",
)
_SYSTEM = "Speak out the provided text."


class TokenizerError(Exception):
    """tokenizer.tiktoken is not what it should be."""


class Tokenizer:
    """Encodes text. Special tokens never come out of text, only out of ``special``."""

    def __init__(self, path: Path) -> None:
        """Read a ``tokenizer.tiktoken``: a base64 token and its rank in each row.

        Raises TokenizerError.
        """
        ranks: dict[bytes, int] = {}
        for number, row in enumerate(path.read_text().splitlines(), 1):
            if not row:
                continue
            try:
                token, rank = row.split()
                ranks[base64.b64decode(token, validate=True)] = int(rank)
            except (ValueError, binascii.Error) as exc:
                raise TokenizerError(
                    f"{path.name}: row {number} is not a token and its rank."
                ) from exc
        if sorted(ranks.values()) != list(range(len(ranks))) or len(ranks) < 256:
            raise TokenizerError(f"{path.name}: ranks are missing; is the file truncated?")
        self._special = {
            name: len(ranks) + index
            for index, name in enumerate(
                (*_CONTROL, *(f"<|semantic:{code}|>" for code in range(SEMANTIC_TOKENS)))
            )
        }
        self.size = len(ranks) + len(_CONTROL) + SEMANTIC_TOKENS
        self._encoding = tiktoken.Encoding(
            name=path.stem,
            pat_str=_PATTERN,
            mergeable_ranks=ranks,
            special_tokens=self._special,
        )

    def special(self, name: str) -> int:
        return self._special[name]

    def encode(self, text: str) -> list[int]:
        """The ids of a text; ``<|im_end|>`` and the like in it are plain characters."""
        return self._encoding.encode_ordinary(text)

    @cached_property
    def end(self) -> int:
        """The token that ends a line: ``<|im_end|>``."""
        return self.special("<|im_end|>")

    @cached_property
    def semantic_begin(self) -> int:
        return self.special("<|semantic:0|>")


class Prompts:
    """Assembles prompts: a voice's part, computed once, and a line's."""

    def __init__(self, tokenizer: Tokenizer, codebooks: int) -> None:
        self._tokenizer = tokenizer
        self._codebooks = codebooks
        start, end = tokenizer.special("<|im_start|>"), tokenizer.end
        self._user = [start, *tokenizer.encode("user\n")]
        self._answer = [
            end,
            start,
            *tokenizer.encode("assistant\n"),
            tokenizer.special("<|voice|>"),
        ]
        self._system = [
            start,
            *tokenizer.encode("system\n"),
            *tokenizer.encode(_SYSTEM),
            end,
        ]

    def _text(self, ids: list[int]) -> Prompt:
        rows = np.zeros((1 + self._codebooks, len(ids)), np.int32)
        rows[0] = ids
        return rows

    def voice(self, transcript: str, codes: npt.NDArray[np.integer]) -> Prompt:
        """What every line of a voice begins with. codes: [codebooks, frames], of the reference."""
        spoken = np.concatenate([self._tokenizer.semantic_begin + codes[:1], codes])
        text = self._tokenizer.encode(transcript)
        return np.concatenate(
            [
                self._text([*self._system, *self._user, *text, *self._answer]),
                spoken.astype(np.int32),
                self._text([self._tokenizer.end]),
            ],
            axis=1,
        )

    def line(self, text: str) -> Prompt:
        """What follows the voice's part: the text, and an answer left open for the audio."""
        return self._text([*self._user, *self._tokenizer.encode(text), *self._answer])
