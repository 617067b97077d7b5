"""An English line as it is read aloud, in American or British usage."""

from functools import cache

import regex

from synthesis.spoken_forms.addresses import address_rules
from synthesis.spoken_forms.english_dates import date_rules, telephone_rules, time_rules, year_rules
from synthesis.spoken_forms.english_names import MIXED_NAMES, abbreviation_rules, roman_rules
from synthesis.spoken_forms.english_numbers import (
    by_digit,
    in_a_name,
    number_words,
    ordinal,
    plural,
)
from synthesis.spoken_forms.english_quantities import (
    RANGES,
    fraction_rules,
    money_rules,
    sum_rules,
    unit_rules,
)
from synthesis.spoken_forms.rewriting import NUMBER, Match, Rule, apply_rules, rule

_SYMBOLS = {
    "@": "at", ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "+": "plus", "%": "percent", ":": "colon", "~": "tilde",
}  # fmt: skip
# Numbers that name a thing are read digit by digit.
_NAMING = r"(?<!\p{L})(?i:code|pin|password|passcode|zip|extension|ext\.|account|account number|order number)(?:\nis|:)?\n"
# Three figures after these are said as in a name: room one oh one, flight three seventy.
_PLACES = r"(?<!\p{L})(?i:room|flight|route|highway|suite|gate|apartment|boeing|airbus)\n"


def speak(line: str, british: bool) -> str:
    """A line of words, joined by line breaks, as it is said."""
    return apply_rules(line, _rules(british))


@cache
def _rules(british: bool) -> tuple[Rule, ...]:
    def number(match: Match) -> str:
        return _set_apart(match, number_words(match[0], british))

    return (
        *address_rules(_SYMBOLS, {}),
        *telephone_rules(),
        rule(rf"(?<={_NAMING})\d{{3,}}+(?![\d,]|\.\d)", _figures),
        *date_rules(british),
        # Other groups of figures: account, card and book numbers.
        rule(r"(?<![\d.,])\d{1,8}(?:-\d{1,8}){2,6}(?!\d)", _figures),
        rule(r"(?<![\d.,])(?:\d{4}\n){3}\d{4}(?!\d|[.,]\d)", _figures),
        rule(rf"(?<={_PLACES})\d{{3}}(?!\d|[.,]\d)", lambda m: in_a_name(m[0])),
        *time_rules(),
        *abbreviation_rules(),
        *sum_rules(),
        *money_rules(british),
        *fraction_rules(british),
        *year_rules(british),
        *RANGES,
        *unit_rules(british),
        rule(r"(?<![\p{L}\d.,])([1-9]\d{0,5})s(?!\p{L})", lambda m: plural(in_a_name(m[1]))),
        *MIXED_NAMES,
        *roman_rules(),
        rule(
            r"(?<![\d.,])(\d{1,3}(?:,\d{3}){1,5}|\d{1,15})(?:st|nd|rd|th)(?!\p{L})",
            lambda m: ordinal(int(m[1].replace(",", "")), british),
        ),
        rule(r"(?<![\p{L}\d])#(?=\p{L})", "hashtag "),
        rule(r"(?<![\p{L}\d])@(?=\p{L})", "at "),
        rule(r"(?<=\p{L})&(?=\p{L})", " and "),
        rule(r"(?<![^\n])&(?![^\n])", "and"),
        # Seven figures or more on end are a code, unless they are round.
        rule(r"(?<!\d)(?!\d*000(?!\d))\d{7,}+(?![,.]\d)", _figures),
        rule(r"(?<![\d\p{L}])\.(?=\d)", "point "),
        rule(rf"(?<!\d){NUMBER}", number),
        rule(r"(?<=\p{L})%", " percent"),
        rule("(?<=\\p{L}) ?²", " squared"),
        rule("(?<=\\p{L}) ?³", " cubed"),
        rule(
            r"(?<=dollars|cents|pounds|pence|euros|won|yen|\d)/(?=(?:month|year|week|day|hour|night|person)(?!\p{L}))",
            " per ",
        ),
    )


def _figures(match: Match) -> str:
    """Digit by digit, groups apart."""
    spoken = regex.sub(r"\d+", lambda group: by_digit(group[0]), match[0])
    return spoken.replace("-", ", ").replace("\n", ",\n")


def _set_apart(match: Match, spoken: str) -> str:
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    lead = " " if before.isalpha() or before == ")" else ""
    return lead + spoken + (" " if after.isalpha() else "")
