"""Korean numbers: Sino-Korean for most, native before counters, digit by digit for codes."""

_DIGITS = "영일이삼사오육칠팔구"
_NATIVE_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")


def sino_korean(digits: str) -> str:
    """A whole number in Sino-Korean, its groups (만, 억, 조) apart: 12345 is 만 이천삼백사십오.

    Beyond 16 digits, or with a leading zero, digit by digit.
    """
    if len(digits) > 16 or (digits.startswith("0") and digits != "0"):
        return by_digit(digits)
    if digits == "0":
        return "영"
    groups = []
    rest = int(digits)
    for unit in ("", "만", "억", "조"):
        rest, group = divmod(rest, 10_000)
        if group:
            spoken = ""
            for place, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
                digit = group // place % 10
                if digit:
                    spoken += ("" if digit == 1 and name else _DIGITS[digit]) + name
            groups.append(("" if spoken == "일" and unit == "만" else spoken) + unit)
    return " ".join(reversed(groups))


def native_korean(number: int) -> str:
    """1 to 99 as it stands before a counter: 한, 두, 세, 네, 스무, 스물한."""
    if number == 20:
        return "스무"
    return _NATIVE_TENS[number // 10] + _NATIVE_ONES[number % 10]


def by_digit(digits: str) -> str:
    """Each digit by its name, zero as 공: telephone numbers and codes."""
    return "".join(_DIGITS[int(digit)] for digit in digits).replace("영", "공")


def written_number(number: str) -> str:
    """A number as written, with commas and decimals: 3.14 is 삼 점 일사."""
    whole, _, decimals = number.replace(",", "").partition(".")
    spoken = sino_korean(whole)
    if decimals:
        spoken += " 점 " + "".join(_DIGITS[int(digit)] for digit in decimals)
    return spoken
