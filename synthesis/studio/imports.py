"""Scripts that people bring along: plain `Name: line` text, CSV, SRT and WebVTT."""

import csv
import html
import io
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from synthesis.serializers import LONGEST_LINE, MOST_LINES
from voicereel_site.errors import Refusal

LONGEST_NAME = 60  # characters
# Silence after which nobody is in the middle of a sentence.
_NEW_SENTENCE_MS = 1_500
# A gap between captions is kept as a pause up to here; one that is longer is a change of scene.
_LONGEST_PAUSE_MS = 10_000
# "Anna: hi", also with the colon of Korean keyboards; not the one in 12:30 or in a web address.
_NAMED = re.compile(r'(?P<name>[^:：,!?;"“”]{1,60}?)\s*[:：](?![0-9/])\s*(?P<text>.*)', re.DOTALL)
# A row of its own, with hours that are none of a book's: what is longer is no caption, and would be looked
# at again from each of its digits.
_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"^[ \t]*{_TIME}[ \t]{{0,9}}-->[ \t]{{0,9}}{_TIME}[^\n]*$", re.MULTILINE)
_VOICE = re.compile(r"<v(?:\.[^ <>]{0,100})?[ \t]+([^<>]{1,200})>")
_TAG = re.compile(r"</?[a-z][^<>]{0,200}>|\{\\[^{}]{0,200}\}", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?…。！？]{1,9}[\"'”’」』)\]]{0,5}$")
_SENTENCE_WITHIN = re.compile(r"[.!?…。！？]{1,9}[\"'”’」』)\]]{0,5}\s")
_LAST_CHARACTERS = 20  # of a sentence: enough to see its end
_SPEAKER_COLUMNS = ("speaker", "name", "voice", "character", "화자", "이름", "인물")
_TEXT_COLUMNS = ("text", "line", "dialogue", "대사", "내용", "텍스트")
_PAUSE_COLUMNS = ("pause_after_ms", "pause")


@dataclass(frozen=True)
class ImportedLine:
    """What somebody says. name: as the script calls them, "" where it does not; pause_after_ms: None
    where it does not say.
    """

    name: str
    text: str
    pause_after_ms: int | None = None


def read_script(content: str, filename: str = "") -> list[ImportedLine]:
    """The lines of a script in any form we know, told by its name or by how it looks.

    Raises validation_error, which names the row, if there is nothing to say or too much.
    """
    content = unicodedata.normalize("NFC", content.removeprefix("\ufeff").replace("\0", ""))
    content = content.replace("\r\n", "\n").replace("\r", "\n")
    lines = _reader(content, filename.lower())(content)
    if not lines:
        raise _refusal(
            _(
                "No lines were found. Paste rows such as “Anna: Hello there.”, a CSV table with the "
                "columns speaker and text, or an SRT or WebVTT file."
            )
        )
    lines = [part for line in lines for part in _of_length(line)]
    if len(lines) > MOST_LINES:
        raise _refusal(
            _("The script has %(count)s lines; %(most)s are allowed. Split it into several drafts.")
            % {"count": f"{len(lines):,}", "most": f"{MOST_LINES:,}"}
        )
    return lines


def decoded(content: bytes) -> str:
    """A file's text: UTF-8, UTF-16 with its mark, or what Korean Windows writes. Raises validation_error."""
    encodings = ["utf-16"] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "cp949"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise _refusal(_("This is no text file. Save the script as text, CSV, SRT or WebVTT in UTF-8."))


def _refusal(detail: str) -> Refusal:
    return Refusal("validation_error", detail)


def _reader(content: str, filename: str) -> Callable[[str], list[ImportedLine]]:
    if filename.endswith((".srt", ".vtt")) or _TIMES.search(content[:2_000]):
        return _captions
    if filename.endswith((".csv", ".tsv")) or _columns(_rows(content[:4_000])) is not None:
        return _table
    return _plain


def _plain(content: str) -> list[ImportedLine]:
    """`Name: line` rows. Blank rows and rows that begin with # are left out; a row without a name goes on
    with the one before it, and without one before it stands alone.
    """
    lines: list[tuple[str, list[str]]] = []  # names, and rows of text
    blank = True
    for row in content.split("\n"):
        row = row.strip()
        if not row or row.startswith("#"):
            blank = True
            continue
        if named := _NAMED.fullmatch(row):
            lines.append((named["name"].strip(), [named["text"].strip()]))
        elif lines and lines[-1][0] and not blank:
            lines[-1][1].append(row)
        else:
            lines.append((lines[-1][0] if lines else "", [row]))
        blank = False
    spoken = [ImportedLine(name, " ".join(filter(None, rows))) for name, rows in lines]
    return [line for line in spoken if line.text]


def _rows(content: str) -> list[list[str]]:
    delimiter = "\t" if "\t" in content.split("\n", 1)[0] else ","
    if ";" in content.split("\n", 1)[0] and "," not in content.split("\n", 1)[0]:
        delimiter = ";"
    try:
        return list(csv.reader(io.StringIO(content), delimiter=delimiter))
    except csv.Error as exc:
        raise _refusal(_("The table cannot be read: %(error)s.") % {"error": exc}) from exc


def _columns(rows: list[list[str]]) -> dict[str, int] | None:
    """Which column holds what, if the first row names them."""
    if not rows:
        return None
    header = [cell.strip().casefold() for cell in rows[0]]
    found = {
        what: next((header.index(name) for name in names if name in header), -1)
        for what, names in (
            ("speaker", _SPEAKER_COLUMNS),
            ("text", _TEXT_COLUMNS),
            ("pause", _PAUSE_COLUMNS),
        )
    }
    return found if found["text"] >= 0 else None


def _table(content: str) -> list[ImportedLine]:
    """A table with a header, or with the speaker in the first column and the text in the second."""
    rows = _rows(content)
    columns = _columns(rows)
    first = 1
    if columns is None:
        columns, first = {"speaker": 0, "text": 1, "pause": 2}, 0
    lines = []
    for number, row in enumerate(rows[first:], first + 1):
        cells = {
            what: row[at].strip() if 0 <= at < len(row) else "" for what, at in columns.items()
        }
        if not any(cells.values()):
            continue
        pause = None
        if cells["pause"]:
            try:
                pause = min(_LONGEST_PAUSE_MS, max(0, int(float(cells["pause"][:20]))))
            except (ValueError, OverflowError) as exc:
                detail = _("Row %(row)s: the pause “%(pause)s” is no number of milliseconds.")
                raise _refusal(detail % {"row": number, "pause": cells["pause"][:40]}) from exc
        if cells["text"]:
            lines.append(ImportedLine(cells["speaker"], " ".join(cells["text"].split()), pause))
    return lines


@dataclass(frozen=True)
class _Caption:
    start_ms: int
    end_ms: int
    name: str
    text: str


def _captions(content: str) -> list[ImportedLine]:
    """The cues of SRT or WebVTT. Cues that go on with a sentence become one line again, and the silence
    between lines is kept as their pause.
    """
    cues: list[_Caption] = []
    for block in re.split(r"\n\s*\n", content):
        times = _TIMES.search(block)
        if times is None:
            continue
        start, end = (_ms(*times.groups()[at : at + 4]) for at in (0, 4))
        for name, text in _voices(block[times.end() :].partition("\n")[2]):
            cues.append(_Caption(start, end, name, text))
    joined: list[_Caption] = []
    for cue in cues:
        last = joined[-1] if joined else None
        if last and cue.name in ("", last.name) and _goes_on(last, cue):
            joined[-1] = _Caption(last.start_ms, cue.end_ms, last.name, f"{last.text} {cue.text}")
        else:
            name = cue.name or (last.name if last else "")
            joined.append(_Caption(cue.start_ms, cue.end_ms, name, cue.text))
    if not joined:
        return []
    gaps = [
        after.start_ms - cue.end_ms if after.start_ms > cue.end_ms else None
        for cue, after in itertools.pairwise(joined)
    ]
    return [
        ImportedLine(cue.name, cue.text, None if gap is None else min(gap, _LONGEST_PAUSE_MS))
        for cue, gap in zip(joined, [*gaps, None], strict=True)
    ]


def _goes_on(last: _Caption, cue: _Caption) -> bool:
    """Whether a caption is in the middle of what the one before began. Captions by machines have no full
    stops; a pause, or the length of a line, ends a sentence there.
    """
    if _SENTENCE_END.search(last.text[-_LAST_CHARACTERS:]):
        return False
    return (
        cue.start_ms - last.end_ms < _NEW_SENTENCE_MS
        and len(last.text) + len(cue.text) < LONGEST_LINE
    )


def _ms(hours: str | None, minutes: str, seconds: str, fraction: str) -> int:
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1000 + int(fraction.ljust(3, "0"))


def _voices(payload: str) -> Iterable[tuple[str, str]]:
    """Who says what in a cue: WebVTT's voices, `Name: text`, or dashes for several people."""
    if _VOICE.search(payload):
        parts = _VOICE.split(payload)
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if clean := _clean(text):
                yield html.unescape(name).strip()[:LONGEST_NAME], clean
        return
    rows = [row.strip() for row in payload.split("\n") if row.strip()]
    dashed = len(rows) > 1 and all(row.startswith(("-", "–", "—")) for row in rows)
    for text in (row.lstrip("-–— ") for row in rows) if dashed else ["\n".join(rows)]:
        clean = _clean(text)
        if named := _NAMED.fullmatch(clean):
            clean = named["text"].strip()
            if clean:
                yield named["name"].strip(), clean
        elif clean:
            yield "", clean


def _clean(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", text)).split())


def _of_length(line: ImportedLine) -> Iterable[ImportedLine]:
    """A line, cut at the ends of sentences or between words where it is longer than a line may be."""
    text = line.text
    while len(text) > LONGEST_LINE:
        head = text[:LONGEST_LINE]
        ends = [match.end() for match in _SENTENCE_WITHIN.finditer(head)]
        at = ends[-1] if ends else head.rfind(" ") + 1 or LONGEST_LINE
        yield ImportedLine(line.name, text[:at].strip(), None)
        text = text[at:].strip()
    yield ImportedLine(line.name, text, line.pause_after_ms)
