"""Scripts that people bring along, in the forms in which they have them."""

import contextlib
import time

import pytest

from synthesis.serializers import LONGEST_LINE, MOST_LINES
from synthesis.studio.imports import ImportedLine, decoded, read_script
from voicereel_site.errors import Refusal


def said(content: str, filename: str = "") -> list[tuple[str, str]]:
    return [(line.name, line.text) for line in read_script(content, filename)]


def test_plain_rows_name_who_speaks() -> None:
    script = "Anna: Hi.\r\n# a remark\nBen：안녕하세요.\nand goes on\n\nAnna:Bye at 12:30, see https://a.example/x"
    assert said(script) == [
        ("Anna", "Hi."),
        ("Ben", "안녕하세요. and goes on"),
        ("Anna", "Bye at 12:30, see https://a.example/x"),
    ]


def test_a_text_without_names_is_lines_by_nobody_yet() -> None:
    assert said("One sentence.\n\nAnother one.") == [("", "One sentence."), ("", "Another one.")]


def test_after_a_blank_row_the_same_speaker_begins_another_line() -> None:
    assert said("Anna: One.\n\nTwo.") == [("Anna", "One."), ("Anna", "Two.")]


@pytest.mark.parametrize(
    ("table", "filename"),
    [
        ('speaker,text\nAnna,Hi.\nBen,"Well, hello."\n', ""),
        ('화자,대사\nAnna,Hi.\nBen,"Well, hello."\n', "대본.csv"),
        ("Speaker\tText\nAnna\tHi.\nBen\tWell, hello.\n", ""),
        ("speaker;text\nAnna;Hi.\nBen;Well, hello.\n", "a.csv"),
        ('Anna,Hi.\nBen,"Well, hello."\n', "a.csv"),
        ('text,speaker,note\nHi.,Anna,x\n"Well, hello.",Ben,\n', ""),
    ],
)
def test_tables_are_known_by_their_header_or_their_name(table: str, filename: str) -> None:
    assert said(table, filename) == [("Anna", "Hi."), ("Ben", "Well, hello.")]


def test_a_table_may_say_pauses() -> None:
    lines = read_script("speaker,text,pause_after_ms\nAnna,Hi.,250\nBen,Hm.,99999\nBen,So.,\n")
    assert [line.pause_after_ms for line in lines] == [250, 10_000, None]
    with pytest.raises(Refusal, match=r"Row 2: the pause “soon” is no number"):
        read_script("speaker,text,pause\nAnna,Hi.,soon\n")


SRT = """\
1
00:00:01,000 --> 00:00:02,500
Anna: Is this thing on? I have been
talking

2
00:00:02,600 --> 00:00:04,000
for a <i>minute</i>.

3
00:00:05,500 --> 00:00:07,000
- It is.
- Good.

4
00:00:07,000 --> 00:00:08,000
Ben: {\\an8}We can hear you.
"""


def test_captions_become_whole_lines_with_their_pauses() -> None:
    assert read_script(SRT) == [
        ImportedLine("Anna", "Is this thing on? I have been talking for a minute.", 1_500),
        ImportedLine("Anna", "It is.", None),
        ImportedLine("Anna", "Good.", None),
        ImportedLine("Ben", "We can hear you.", None),
    ]


def test_webvtt_names_its_voices() -> None:
    vtt = (
        "WEBVTT\n\nNOTE made by hand\n\n1\n00:01.000 --> 00:02.000 align:start\n"
        "<v.loud Anna &amp; Co>Hello &lt;there&gt;.</v>\n\n00:02.500 --> 00:03.000\n<v Ben>Hi."
    )
    assert read_script(vtt) == [
        ImportedLine("Anna & Co", "Hello <there>.", 500),
        ImportedLine("Ben", "Hi.", None),
    ]


def test_our_own_captions_come_back_as_the_script() -> None:
    srt = "1\n00:00:00,000 --> 00:00:01,200\nAnna: Good morning.\n\n2\n00:00:01,700 --> 00:00:03,000\nBen: Good evening.\n"
    assert said(srt, "our.srt") == [("Anna", "Good morning."), ("Ben", "Good evening.")]


def test_a_line_that_is_too_long_is_cut_at_the_end_of_a_sentence() -> None:
    sentence = "This is a sentence of some length. "
    lines = read_script("Anna: " + sentence * 100)
    assert len(lines) == 2
    assert all(len(line.text) <= LONGEST_LINE for line in lines)
    assert all(line.text.endswith(".") for line in lines)
    assert " ".join(line.text for line in lines) == (sentence * 100).strip()
    [*_, last] = read_script("Anna: " + "x" * 4_500)
    assert len(last.text) == 500


@pytest.mark.parametrize("nothing", ["", "\n \n", "# only a remark", "speaker,text\n,\n"])
def test_nothing_to_say_is_refused_with_what_would_do(nothing: str) -> None:
    with pytest.raises(Refusal, match="No lines were found"):
        read_script(nothing)


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(Refusal, match="2,001 lines; 2,000 are allowed"):
        read_script("Anna: Hi.\n" * (MOST_LINES + 1))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_files_of_windows_are_read(encoding: str) -> None:
    assert decoded("민아: 안녕하세요.".encode(encoding)) == "민아: 안녕하세요."


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xfe\x00", b"\x80\x81\xff\xfd"]
)
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(Refusal, match="no text file"):
        decoded(content)


@pytest.mark.parametrize(
    "hostile",
    [
        "00:00:01,000 --> 00:00:02,000\nhello.\n\n" + "1" * 200_000,
        "00:00:01,000 --> 00:00:02,000\n" + "<a" * 100_000,
        "00:00:01,000 --> 00:00:02,000\n" + "<v" * 100_000,
        "00:00:01,000 --> 00:00:02,000\n" + "{\\" * 100_000,
        "Anna: " + "!" * 200_000 + "x",
        "Anna: " + "." * 1_999 + "x" + ")" * 100_000,
        ":" * 200_000,
        "A: x\n" + "b\n" * 300_000,
        "1" * 5_000 + ":00:00,0 --> 00:00:01,0\nhi",
        "speaker,text,pause\nA,hi," + "9" * 5_000,
        "\n".join(
            f"{n}\n00:00:{n % 60:02},000 --> 00:00:{n % 60:02},900\nno full stop"
            for n in range(5_000)
        ),
    ],
)
def test_no_text_takes_long_to_read(hostile: str) -> None:
    """Each of these took a regular expression minutes, or a number its limit."""
    began = time.process_time()
    with contextlib.suppress(Refusal):
        read_script(hostile)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("pause", ["inf", "1e400", "-inf"])
def test_a_pause_without_end_is_refused(pause: str) -> None:
    with pytest.raises(Refusal, match="is no number of milliseconds"):
        read_script(f"speaker,text,pause\nA,hi,{pause}\n")


@pytest.mark.parametrize("name", ["empty.srt", "a.vtt"])
def test_a_file_of_captions_without_any_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="No lines were found"):
        read_script("nothing of the kind", name)


def test_nothing_that_cannot_be_stored_comes_in() -> None:
    assert said("Anna: a\0b.\rBen: c.") == [("Anna", "ab."), ("Ben", "c.")]
