"""How plain-text scripts are read and names become speakers."""

import unicodedata
from typing import Any

import pytest
from voicereel import ScriptError, Speaker
from voicereel.script_text import SpeakerNames, SpokenLine, parse_script

from .samples import speaker


def names(*speakers: dict, given: dict[str, str] | None = None) -> SpeakerNames:
    return SpeakerNames(given or {}, lambda: map(Speaker.from_json, speakers))


def test_rows_become_lines_and_keep_their_row_numbers() -> None:
    text = "\ufeff# a talk\n\nAnna: Hello.\r\n  Ben:  Hi!  \n"
    assert parse_script(text) == [SpokenLine(3, "Anna", "Hello."), SpokenLine(4, "Ben", "Hi!")]


def test_a_row_without_a_name_goes_on_with_the_line_before_it() -> None:
    lines = parse_script("Anna:\nI thought\n# not this\nabout it.\nBen: And?")
    assert [(line.speaker, line.text) for line in lines] == [
        ("Anna", "I thought about it."),
        ("Ben", "And?"),
    ]


@pytest.mark.parametrize(
    "row",
    ["It was 12:30 by then.", "See https://example.test/a", "Well, listen: no.", "Oh! So: no"],
)
def test_a_colon_inside_a_sentence_is_not_a_name(row: Any) -> None:
    assert parse_script(f"Anna: Hi.\n{row}") == [SpokenLine(1, "Anna", f"Hi. {row}")]


@pytest.mark.parametrize("row", ["지민: 안녕", "지민:안녕", "지민\N{FULLWIDTH COLON}안녕"])
def test_a_korean_name_is_read_with_either_colon(row: Any) -> None:
    assert parse_script(row) == [SpokenLine(1, "지민", "안녕")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nHello there", "row 2: the first line must start with a speaker"),
        ("Anna: Hi.\nBen:\n", "row 2: Ben has nothing to say"),
        ("# only this\n\n", "the script has no lines"),
    ],
)
def test_a_script_that_cannot_be_read_is_refused_with_the_row(text: Any, message: Any) -> None:
    with pytest.raises(ScriptError, match=message):
        parse_script(text)


def test_a_name_is_found_without_regard_to_case_or_unicode_form() -> None:
    known = names(speaker(id="spk_a", name="Anna"), speaker(id="spk_j", name="지민"))
    assert known.id_of("ANNA", "row 1") == "spk_a"
    assert known.id_of(unicodedata.normalize("NFD", "지민"), "row 2") == "spk_j"


def test_given_names_come_first_and_need_no_request() -> None:
    def load() -> list[Speaker]:
        raise AssertionError("the speakers were fetched")

    assert SpeakerNames({"Anna": "spk_9"}, load).id_of("anna", "row 1") == "spk_9"


def test_an_unknown_name_is_refused_with_the_row_and_the_names_there_are() -> None:
    with pytest.raises(ScriptError, match=r'row 7: no speaker is called "Bob".*yours: Anna'):
        names(speaker()).id_of("Bob", "row 7")


def test_a_name_of_two_speakers_is_refused_with_both_ids() -> None:
    with pytest.raises(ScriptError, match=r"row 1: 2 speakers .*spk_1, spk_2"):
        names(speaker(id="spk_1"), speaker(id="spk_2")).id_of("Anna", "row 1")


def test_a_failed_registration_is_not_in_the_way_of_a_later_one() -> None:
    failed = speaker(id="spk_1", status="failed")
    assert names(failed, speaker(id="spk_2")).id_of("Anna", "row 1") == "spk_2"
    with pytest.raises(ScriptError, match="has failed"):
        names(failed).id_of("Anna", "row 1")
