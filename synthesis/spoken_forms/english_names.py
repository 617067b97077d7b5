"""English abbreviations, Roman numerals, and names made of letters and figures."""

from collections.abc import Mapping

import regex

from synthesis.spoken_forms.english_numbers import cardinal, in_a_name, number_words, ordinal, roman
from synthesis.spoken_forms.rewriting import WHOLE, Match, Rule, breaks, ends_line, rule

# Before a name; British usage leaves out the full stop of the first row.
_TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Dr": "Doctor", "Prof": "Professor",
}  # fmt: skip
_RANKS = {
    "Gov": "Governor", "Sen": "Senator", "Rep": "Representative", "Gen": "General", "Col": "Colonel",
    "Capt": "Captain", "Lt": "Lieutenant", "Sgt": "Sergeant", "Rev": "Reverend", "Hon": "Honorable",
    "Mt": "Mount", "Ft": "Fort", "Pres": "President",
}  # fmt: skip
# After a name.
_AFTER_NAMES = {
    "Jr": "Junior", "Sr": "Senior", "Inc": "Incorporated", "Ltd": "Limited", "Co": "Company",
    "Corp": "Corporation", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Dr": "Drive", "Ln": "Lane",
    "Hwy": "Highway", "Bros": "Brothers",
}  # fmt: skip
_ANYWHERE = {
    "etc": "et cetera", "e.g": "for example", "i.e": "that is", "vs": "versus", "approx": "approximately",
    "dept": "department", "Dept": "Department", "est": "established", "Est": "Established", "govt": "government",
    "Univ": "University", "univ": "university", "Ph.D": "P H D", "a.k.a": "also known as",
}  # fmt: skip
_NUMBERED = {
    "No": "number", "no": "number", "Nos": "numbers", "Vol": "volume", "vol": "volume", "Fig": "figure",
    "fig": "figure", "p": "page", "pp": "pages", "Ch": "chapter", "ch": "chapter", "Sec": "section",
    "sec": "section", "Apt": "apartment", "Ver": "version", "ver": "version",
}  # fmt: skip
_NAME_BEFORE = r"(?<=(?<!\p{L})\p{Lu}[\p{L}'’.&-]{0,30},?\n)"

# Rulers whose numbers are ordinals.
_RULERS = (
    "Henry|Louis|Charles|George|Edward|Richard|James|William|Elizabeth|Mary|Catherine|Philip|Frederick|"
    "Napoleon|Nicholas|Alexander|Peter|Paul|Pius|Benedict|Leo|Gregory|Innocent|Ramses|Ramesses|Darius|"
    "Ferdinand|Wilhelm|Joseph|Francis|Carlos|Harald|Christian|Gustav|Margrethe"
)
_PARTS = (
    "Chapter|Part|Act|Scene|Book|Volume|Section|Phase|Type|Level|Article|Appendix|Episode|Season|War|Bowl|"
    "Rocky|Fantasy|Title|Class|Stage|Figure|Table|Mark|Grade|Apollo"
)
_ROMAN = r"(?=[IVXLC])(?:C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?!\p{L}|['’](?!s(?!\p{L}))\p{L}|\.\p{L})"


def _any_of(names: Mapping[str, str]) -> str:
    return "|".join(regex.escape(name) for name in sorted(names, key=len, reverse=True))


def abbreviation_rules() -> tuple[Rule, ...]:
    starts = r"(?<![\p{L}\d.@])"
    return (
        rule(rf"{starts}({_any_of(_NUMBERED)})\.(\n?)(?=\d)", lambda m: _NUMBERED[m[1]] + breaks(m[2])),
        rule(rf"(?<![\p{{L}}\d&])#(?={WHOLE}(?!\p{{L}}))", "number "),
        rule(r"§(\n?)(?=\d)", lambda m: "section" + breaks(m[1])),
        # Before St. the street, after it the saint: "123 Main St. Springfield", "St. Louis".
        rule(r"(?<=\d\p{L}{0,2}\n)(\p{Lu}[\p{L}'’-]{0,30}\n)St\.", lambda m: _with_stop(m[1] + "Street", m)),
        rule(rf"{starts}St\.?(?=\n\p{{Lu}})", "Saint"),
        rule(rf"{_NAME_BEFORE}St\.", lambda m: _with_stop("Street", m)),
        rule(rf"{starts}({_any_of(_TITLES)})\.?(?=\n[\p{{Lu}}\p{{Co}}])", lambda m: _TITLES[m[1]]),
        rule(rf"{starts}(Mrs?|Ms)\.", lambda m: _TITLES[m[1]]),
        rule(rf"{starts}({_any_of(_RANKS)})\.(?=\n[\p{{Lu}}\p{{Co}}])", lambda m: _RANKS[m[1]]),
        rule(rf"{_NAME_BEFORE}({_any_of(_AFTER_NAMES)})\.", lambda m: _with_stop(_AFTER_NAMES[m[1]], m)),
        rule(
            rf"{starts}({_any_of(_ANYWHERE)})\.",
            lambda m: _with_stop(_ANYWHERE[m[1]], m, sentence=m[1] == "etc"),
        ),
        rule(r"(?<![\p{L}\d])w/o(?=\n)", "without"),
        rule(r"(?<![\p{L}\d])w/(?=\n|\p{L})", lambda m: "with" + _gap_after(m)),
        rule(r"(?<=(?<!\p{L})(?i:and))/(?=(?i:or)(?!\p{L}))", " "),
    )  # fmt: skip


def _with_stop(name: str, match: Match, sentence: bool = False) -> str:
    """The full stop stays where it ends the sentence too."""
    new_sentence = sentence and regex.match(r"\n\p{Lu}", match.string, pos=match.end())
    return name + ("." if ends_line(match) or new_sentence else "")


def _gap_after(match: Match) -> str:
    return "" if match.string[match.end() : match.end() + 1] == "\n" else " "


def roman_rules() -> tuple[Rule, ...]:
    def ruler(match: Match) -> str:
        return f"the {ordinal(roman(match[0]))}"

    # A lone I is the pronoun, unless what follows cannot be its verb.
    not_pronoun = r"(?!I(?:\n(?!of|is|was|and|or|by|in)\p{Ll}|['’]))"
    return (
        rule(rf"(?<=(?<!\p{{L}})(?:{_RULERS})\n){not_pronoun}{_ROMAN}", ruler),
        rule(
            rf"(?<=(?<!\p{{L}})(?:{_PARTS})\n){not_pronoun}{_ROMAN}",
            lambda m: cardinal(roman(m[0])),
        ),
    )


def _mixed(match: Match) -> str:
    """Letters and figures in one name: MP3 is M P three, COVID-19 COVID nineteen."""
    spoken = []
    for run in regex.findall(r"\p{L}+|\d+", match[0]):
        if run.isdigit():
            spoken.append(in_a_name(run))
        else:
            spoken.append(" ".join(run) if run.isupper() and len(run) <= 3 else run)
    return " ".join(spoken)


def _is_name(text: str) -> bool:
    """One with a capital or with letters and figures in one piece; not "20-year-old"."""
    return all(
        any(c.isalpha() for c in part) and any(c.isdigit() for c in part)
        for part in text.split("-")
    ) or bool(regex.fullmatch(r"\p{Lu}[\p{L}\d]*(?:-[\p{Lu}\d]+)+", text))


def _version(match: Match) -> str:
    word = match[0][: match[0].lower().find("v", 1)] if "\n" in match[0] else ""
    return (word or "version ") + _points(match[1])


def _points(figures: str) -> str:
    return " point ".join(number_words(part) for part in figures.split("."))


MIXED_NAMES: tuple[Rule, ...] = (
    rule(
        r"(?<![\p{L}\d.])(?i:version\n)?[vV](\d{1,4}(?:\.\d{1,4}){0,4})(?![\p{L}\d])",
        _version,
    ),
    rule(r"(?<![\p{L}\d.,])\d{1,4}(?:\.\d{1,4}){2,4}(?!\d|\.\d)", lambda m: _points(m[0])),
    rule(
        r"(?<![\p{L}\d.,'’$£€])(?<![\d\p{L}]-)(?=[\d-]{0,12}\p{L})(?=[\p{L}-]{0,20}\d)(?!\d{1,12}(?:st|nd|rd|th)(?!\p{L}))"
        r"[\p{Latin}\d]{1,20}(?:-[\p{Latin}\d]{1,20}){0,3}(?![\p{L}\d]|['’]?\d)",
        lambda m: _mixed(m) if _is_name(m[0]) else m[0],
    ),
)
