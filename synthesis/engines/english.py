"""English text -> phonemes, by hibari's port of misaki, and which written word each one speaks."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache
from typing import Any

from synthesis.engines.phonemes import Phones


@cache
def _g2p(british: bool) -> Any:
    from hibari.g2p import G2P

    return G2P(british=british)


def phonemize(words: Sequence[str], *, british: bool = False) -> list[Phones]:
    """The phonemes of consecutive words.

    Numbers, dates and abbreviations are read out as other words than are written, so the spoken
    tokens are matched with the written words by their letters.
    """
    from hibari.g2p.normalize import normalize

    g2p = _g2p(british)
    # Square brackets would be hibari's mark-up for pronunciations.
    text = " ".join(words).replace("[", "(").replace("]", ")")
    tokens = list(g2p.phonemize_tokens(g2p.tokenize(normalize(text))))
    owners = _words_of_tokens([token.text for token in tokens], words)
    return [
        Phones(
            owner if any(c.isalnum() for c in token.text) else None,
            token.phonemes or "",
            bool(token.whitespace),
        )
        for token, owner in zip(tokens, owners, strict=True)
    ]


def _letters(texts: Sequence[str]) -> tuple[str, list[int]]:
    """All letters and digits of the texts in one string, and the text each comes from."""
    pairs = [(c, i) for i, text in enumerate(texts) for c in text.lower() if c.isalnum()]
    return "".join(c for c, _ in pairs), [i for _, i in pairs]


def _words_of_tokens(tokens: Sequence[str], words: Sequence[str]) -> list[int]:
    """For each spoken token the index of the written word it speaks; never going back."""
    spoken, spoken_by = _letters(tokens)
    written, written_by = _letters(words)
    owner: dict[int, int] = {}
    matcher = SequenceMatcher(None, spoken, written, autojunk=False)
    matched_letters = [0] * len(words)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            word = written_by[block.b + offset]
            matched_letters[word] += 1
            owner.setdefault(spoken_by[block.a + offset], word)
    # Tokens without a letter in common ("five" for "$5") speak the words that no token has, or
    # the rest of a word that has only part of its letters spoken.
    total = [sum(c.isalnum() for c in word) for word in words]
    result: list[int] = []
    last = 0
    token = 0
    while token < len(tokens):
        if token in owner:
            last = max(last, owner[token])
            result.append(last)
            token += 1
            continue
        end = token
        while end < len(tokens) and end not in owner:
            end += 1
        following = owner[end] if end < len(tokens) else len(words)
        first = last if result and matched_letters[last] < total[last] else last + bool(result)
        free = list(range(first, following)) or [
            following
            if following < len(words) and matched_letters[following] < total[following]
            else min(last, len(words) - 1)
        ]
        run = end - token
        result += [free[index * len(free) // run] for index in range(run)]
        last = max(last, result[-1])
        token = end
    return result
