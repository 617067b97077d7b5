"""Reads what `voicereel pronunciations set` is given: CSV, or JSON as the API has it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import FieldError, InvalidArgument, InvalidRequest
from .models import Pronunciation

_COLUMNS = ("language", "written", "spoken")


@dataclass(frozen=True)
class PronunciationFile:
    """A pronunciation dictionary as somebody wrote it."""

    entries: tuple[Pronunciation, ...]
    rows: tuple[int, ...] = ()
    """Where each entry of a CSV file stands, for error messages; none for JSON."""

    def located(self, error: InvalidRequest) -> InvalidRequest:
        """The server's refusal with the rows of the file that it is about."""
        return InvalidRequest(
            error.status,
            error.code,
            error.detail,
            error.request_id,
            tuple(map(self._located, error.errors)),
        )

    def _located(self, entry: FieldError) -> FieldError:
        _, _, place = (entry.pointer or "").partition("/entries/")
        number, _, column = place.partition("/")
        if not number.isdigit() or int(number) >= len(self.rows):
            return entry
        detail = f"{column}: {entry.detail}" if column else entry.detail
        return replace(entry, line_id=str(self.rows[int(number)]), detail=detail)


def parse_pronunciations(text: str, path: Path) -> PronunciationFile:
    """Read the text of the file `path`. Raises InvalidArgument, which names the row."""
    if path.suffix.lower() == ".json" or text.lstrip().startswith("{"):
        return _from_json(text, path)
    return _from_csv(text, path)


def _from_csv(text: str, path: Path) -> PronunciationFile:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    entries, rows = [], []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if sorted(header) != sorted(_COLUMNS):
            raise InvalidArgument(f"{path}: the first row must be {','.join(_COLUMNS)}")
        for cells in reader:
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(header):
                raise InvalidArgument(
                    f"{path}, row {reader.line_num}: has {len(cells)} cells and needs "
                    f'{len(header)}; put a text with commas in it in "quotation marks"'
                )
            entries.append(Pronunciation(**dict(zip(header, cells, strict=True))))
            rows.append(reader.line_num)
    except csv.Error as exc:
        raise InvalidArgument(f"{path}, row {reader.line_num}: not valid CSV: {exc}") from exc
    return PronunciationFile(tuple(entries), tuple(rows))


def _from_json(text: str, path: Path) -> PronunciationFile:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidArgument(f"{path}, row {exc.lineno}: not valid JSON: {exc.msg}") from exc
    entries = document.get("entries") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(document) > 1:
        raise InvalidArgument(f'{path} must be an object with an "entries" list and nothing else')
    return PronunciationFile(
        tuple(_entry(item, f"{path}, entry {n}") for n, item in enumerate(entries, start=1))
    )


def _entry(item: Any, where: str) -> Pronunciation:
    is_text = isinstance(item, dict) and all(isinstance(value, str) for value in item.values())
    if not is_text or sorted(item) != sorted(_COLUMNS):
        raise InvalidArgument(f"{where}: must be an object of the texts {', '.join(_COLUMNS)}")
    return Pronunciation.from_json(item)
