"""Scripts as people write them: plain `Name: line` rows, and names in place of ids."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .errors import ScriptError
from .models import Speaker

# "Anna: hi" and "Anna:hi" start a line, also with the full-width colon of Korean keyboards.
# A colon in a time (12:30), in a web address, or after a comma, quotation, question or
# exclamation mark does not.
_COLON = ":\N{FULLWIDTH COLON}"
_NAMED_ROW = re.compile(rf'(?P<name>[^{_COLON},!?;"“”]{{1,60}})[{_COLON}](?![0-9/])\s*(?P<text>.*)')
_NAMES_SHOWN = 8


@dataclass(frozen=True)
class SpokenLine:
    """What one speaker says; `row` is the row of the text it starts at, from 1."""

    row: int
    speaker: str
    text: str


def parse_script(text: str) -> list[SpokenLine]:
    """Read `Name: line` rows.

    Blank rows and rows that start with # are left out; a row without a name goes on with
    the line before it. Raises ScriptError, which names the row.
    """
    lines: list[SpokenLine] = []
    for row, content in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        content = content.strip()
        if not content or content.startswith("#"):
            continue
        named = _NAMED_ROW.fullmatch(content)
        if named:
            lines.append(SpokenLine(row, named["name"].strip(), named["text"]))
        elif lines:
            last = lines.pop()
            lines.append(SpokenLine(last.row, last.speaker, f"{last.text} {content}".strip()))
        else:
            raise ScriptError(f'row {row}: the first line must start with a speaker, as "Anna: Hi"')
    for line in lines:
        if not line.text:
            raise ScriptError(f"row {line.row}: {line.speaker} has nothing to say")
    if not lines:
        raise ScriptError("the script has no lines")
    return lines


class SpeakerNames:
    """Finds a speaker's id by name, without regard to case.

    `given` names come first; `load` fetches the registered speakers, once, if any other
    name is asked for. A speaker whose registration failed is not in the way of another
    one with its name.
    """

    def __init__(self, given: Mapping[str, str], load: Callable[[], Iterable[Speaker]]) -> None:
        self._given = {_folded(name): speaker_id for name, speaker_id in given.items()}
        self._load = load
        self._registered: list[Speaker] | None = None

    def id_of(self, name: str, where: str) -> str:
        """The id of the one speaker called `name`; ScriptError starts with `where` if not one."""
        given_id = self._given.get(_folded(name))
        if given_id is not None:
            return given_id
        if self._registered is None:
            self._registered = list(self._load())
        named = [item for item in self._registered if _folded(item.name) == _folded(name)]
        usable = [item for item in named if item.status != "failed"]
        if len(usable) == 1:
            return usable[0].id
        if usable:
            ids = ", ".join(item.id for item in usable)
            raise ScriptError(
                f'{where}: {len(usable)} speakers are called "{name}" ({ids}); '
                f'choose with --speaker "{name}=ID"'
            )
        if named:
            raise ScriptError(f'{where}: the registration of speaker "{name}" has failed')
        raise ScriptError(f'{where}: no speaker is called "{name}" ({self._known()})')

    def _known(self) -> str:
        names = sorted({item.name for item in self._registered or () if item.status != "failed"})
        if not names:
            return "none is registered yet"
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        return f"yours: {', '.join(names[:_NAMES_SHOWN])}{more}"


def _folded(name: str) -> str:
    # macOS hands over Korean names in decomposed form.
    return unicodedata.normalize("NFC", name).strip().casefold()
