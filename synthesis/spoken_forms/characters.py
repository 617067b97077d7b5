"""Characters: one way of writing each before the rules, and only what is said after them."""

import unicodedata
from collections.abc import Sequence

import regex

_FULL_WIDTH = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_ONE_WAY = str.maketrans({
    **_FULL_WIDTH, "℃": "°C", "℉": "°F", "ℓ": "L", "№": "No.", "‼": "!!", "⁉": "!?",
    "−": "-", "‐": "-", "‑": "-", "⁄": "/", "∼": "~", "〜": "~", "µ": "μ",
})  # fmt: skip
# CJK Compatibility: ㎏, ㎞, ㎡ and their like are one character for a unit's letters.
_SQUARED_UNIT = regex.compile(r"[㍱-㏟]")
_OTHER_NUMERAL = regex.compile(r"[\p{Nd}\p{Nl}\p{No}--0-9²³]", regex.V1)
_SILENT = regex.compile(
    r"[\p{Extended_Pictographic}\p{Regional_Indicator}\p{Emoji_Modifier}\uFE0E\uFE0F\u200B-\u200D\u20E3]"
)
_EMOTICON = regex.compile(r"[:;=][-'^]?[()DPp/|]+")
_SAID = regex.compile(r"[\p{L}\p{N}\p{Co}]")
_PROSODY = regex.compile(r"[,.?!…;:]+")


def composed(text: str) -> str:
    """A written word in NFC, without line breaks or private-use characters: those are ours."""
    return " ".join(regex.sub(r"\p{Co}", "", unicodedata.normalize("NFC", text)).split())


def plain_characters(text: str) -> str:
    """A written word composed, its numerals in ASCII, its symbols written one way."""
    text = composed(text).translate(_ONE_WAY)
    text = _SQUARED_UNIT.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return _OTHER_NUMERAL.sub(_ascii_numeral, text).strip()


def _ascii_numeral(match: regex.Match[str]) -> str:
    character = match[0]
    decimal = unicodedata.decimal(character, None)
    if decimal is not None:
        return str(decimal)
    compatible = unicodedata.normalize("NFKC", character)
    if "⁄" in compatible:  # a vulgar fraction, ½
        after_digit = match.start() and match.string[match.start() - 1].isdigit()
        return (" " if after_digit else "") + compatible.replace("⁄", "/")
    value = unicodedata.numeric(character, None)
    return f"{int(value)} " if value is not None and value == int(value) else ""


def said_only(written: Sequence[str], spoken: Sequence[str]) -> list[str]:
    """Without what is not said: emoji, lone dashes. Marks left without a word move to the one before."""
    said: list[str] = []
    for before, after in zip(written, spoken, strict=True):
        text = "" if _EMOTICON.fullmatch(before) else " ".join(_SILENT.sub("", after).split())
        text = regex.sub(r" (?=[,.?!…;:])", "", text)
        if not _SAID.search(text):
            text = "".join(_PROSODY.findall(text))
            if text and _SAID.search(before):
                _lean(said, text)
                text = ""
        said.append(text)
    return said


def _lean(said: list[str], marks: str) -> None:
    """Put marks on the last word that is said."""
    for index in range(len(said) - 1, -1, -1):
        if said[index]:
            said[index] = said[index].rstrip(",") + marks
            return
