"""Rules that rewrite a line without losing track of its words.

A line is its words joined by ``\\n``. A rule replaces what its pattern finds; as many line breaks
come out as went in, so that splitting the line again gives one piece for each written word.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import regex

# A whole number, with commas or without. The repeats are bounded, and every pattern begins where
# no digit precedes, so that no text takes more than linear time.
WHOLE = r"(?:\d{1,3}(?:,\d{3}){1,6}(?!\d)|\d++)"
NUMBER = rf"(?:{WHOLE}(?:\.\d++)?)"
# Where a number may begin.
START = r"(?<!\d)(?<!\d[.,])"

Match: TypeAlias = regex.Match[str]
Spoken = Callable[[Match], str]


class Rule(NamedTuple):
    pattern: regex.Pattern[str]
    spoken: Spoken


def rule(pattern: str, spoken: Spoken | str) -> Rule:
    """A rule that says a fixed text, or what a function makes of the match."""
    if isinstance(spoken, str):
        fixed = spoken
        return Rule(regex.compile(pattern), lambda match: fixed)
    return Rule(regex.compile(pattern), spoken)


def apply_rules(line: str, rules: Iterable[Rule]) -> str:
    """The line after each rule in turn."""
    for pattern, spoken in rules:
        line = pattern.sub(lambda match, spoken=spoken: _same_breaks(match, spoken), line)
    return line


def _same_breaks(match: Match, spoken: Spoken) -> str:
    """What a rule says; words that it leaves no text for are said in the word before."""
    text = spoken(match)
    missing = match[0].count("\n") - text.count("\n")
    if missing < 0:
        head, *tail = text.rsplit("\n", -missing)
        return " ".join([head, *tail])
    return text + "\n" * missing


def breaks(text: str | None, otherwise: str = " ") -> str:
    """The line breaks of a matched gap; where it has none, ``otherwise``."""
    return "\n" * (text or "").count("\n") or otherwise


def ends_line(match: Match) -> bool:
    """Whether only closing marks follow: there an abbreviation's full stop is the sentence's too."""
    return not match.string[match.end() :].strip("\"'”’)]»")
