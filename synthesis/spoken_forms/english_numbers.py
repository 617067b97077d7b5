"""English numbers in words: cardinals, ordinals, years, digit by digit."""

from itertools import pairwise

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_GROUPS = ("", "thousand", "million", "billion", "trillion", "quadrillion")
_IRREGULAR_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_LONGEST = 3 * len(_GROUPS)  # figures; beyond, digit by digit


def cardinal(number: int, british: bool = False) -> str:
    """A whole number below 10**18. The British say "and" before tens and ones."""
    if number == 0:
        return "zero"
    groups = []
    rest = number
    for name in _GROUPS:
        rest, group = divmod(rest, 1000)
        if group:
            lone = british and not name and group < 100 and number > 1000
            spoken = ("and " if lone else "") + _below_thousand(group, british)
            groups.append(f"{spoken} {name}".strip())
    return " ".join(reversed(groups))


def _below_thousand(number: int, british: bool) -> str:
    hundreds, rest = divmod(number, 100)
    parts = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    if rest:
        parts += ["and"] if hundreds and british else []
        parts.append(_below_hundred(rest))
    return " ".join(parts)


def _below_hundred(number: int) -> str:
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def number_words(written: str, british: bool = False) -> str:
    """A number as written, with commas and decimals: 3.14 is three point one four."""
    whole, _, decimals = written.replace(",", "").partition(".")
    leading_zero = len(whole) > 1 and whole.startswith("0")
    if len(whole) > _LONGEST or leading_zero:
        spoken = by_digit(whole)
    else:
        spoken = cardinal(int(whole), british)
    return spoken + (f" point {by_digit(decimals)}" if decimals else "")


def by_digit(digits: str, zero: str = "zero") -> str:
    """Each digit by its name; telephone numbers say "oh" for zero."""
    return " ".join(zero if digit == "0" else _ONES[int(digit)] for digit in digits)


def ordinal(number: int, british: bool = False) -> str:
    """first, twenty-first, one hundredth."""
    spoken = cardinal(number, british)
    cut = max(spoken.rfind(" "), spoken.rfind("-")) + 1
    last = spoken[cut:]
    if last in _IRREGULAR_ORDINALS:
        last = _IRREGULAR_ORDINALS[last]
    else:
        last = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return spoken[:cut] + last


def year(number: int, british: bool = False) -> str:
    """A year from 1000 to 2099: nineteen oh five, two thousand seven, twenty twenty-four."""
    century, rest = divmod(number, 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(number, british)
    if not rest:
        return f"{_below_hundred(century)} hundred"
    return f"{_below_hundred(century)} {'oh ' if rest < 10 else ''}{_below_hundred(rest)}"


def in_a_name(digits: str) -> str:
    """Figures that belong to a name: A320 is A three twenty, Windows 95 ninety-five."""
    if len(digits) == 3 and digits[0] != "0" and digits != "000":
        hundreds, rest = int(digits[0]), int(digits[1:])
        if not rest:
            return f"{_ONES[hundreds]} hundred"
        return f"{_ONES[hundreds]} {'oh ' if rest < 10 else ''}{_below_hundred(rest)}"
    if len(digits) <= 2 and not (len(digits) == 2 and digits[0] == "0"):
        return cardinal(int(digits))
    return by_digit(digits)


def plural(spoken: str) -> str:
    """nineties, nineteen hundreds, sixes."""
    if spoken.endswith("y"):
        return spoken[:-1] + "ies"
    return spoken + ("es" if spoken.endswith("x") else "s")


_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def roman(numeral: str) -> int:
    """The value of a Roman numeral written with I, V, X, L and C."""
    values = [_ROMAN[letter] for letter in numeral]
    return sum(-here if here < following else here for here, following in pairwise([*values, 0]))
