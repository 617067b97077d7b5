"""Reads what `voicereel synthesize` is given: a JSON request, JSON lines, or plain text."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ScriptError
from .script_text import SpeakerNames, parse_script

_REQUEST_KEYS = {
    "title",
    "script",
    "output",
    "captions",
    "seed",
    "retention_hours",
    "max_cost_minor",
    "metadata",
}


@dataclass(frozen=True)
class RequestFile:
    """The keys of a synthesis request; lines name speakers as they were written."""

    keys: dict[str, Any]
    rows: tuple[str, ...]
    """Where each line of the script stands, for error messages."""

    def script(self, names: SpeakerNames) -> list[dict[str, Any]]:
        """The lines with each `speaker` replaced by its `speaker_id`."""
        lines = []
        for line, where in zip(self.keys["script"], self.rows, strict=True):
            resolved = {key: value for key, value in line.items() if key != "speaker"}
            if "speaker" in line:
                resolved["speaker_id"] = names.id_of(line["speaker"], where)
            lines.append(resolved)
        return lines


def read_request(source: str) -> RequestFile:
    """Read the file `source`, or stdin if it is "-". Raises ScriptError or OSError."""
    if source == "-":
        content, suffix = sys.stdin.buffer.read(), ""
    else:
        content, suffix = Path(source).read_bytes(), Path(source).suffix.lower()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ScriptError(f"{source} is not UTF-8 text (byte {exc.start + 1})") from exc
    looks_like_json = suffix != ".txt" and text.lstrip().startswith(("{", "["))
    if suffix == ".json" or looks_like_json:
        return _from_json(text, source)
    lines = parse_script(text)
    return RequestFile(
        keys={
            "script": [
                {"id": f"row{line.row}", "speaker": line.speaker, "text": line.text}
                for line in lines
            ]
        },
        rows=tuple(f"row {line.row}" for line in lines),
    )


def _from_json(text: str, source: str) -> RequestFile:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as exc:
        raise ScriptError(f"{source}, row {exc.lineno}: not valid JSON: {exc.msg}") from exc
    keys = {"script": document} if isinstance(document, list) else document
    script = keys.get("script") if isinstance(keys, dict) else None
    if not isinstance(script, list) or not script:
        raise ScriptError(f'{source} must be a list of lines, or an object with a "script" list')
    if unknown := sorted(keys.keys() - _REQUEST_KEYS):
        raise ScriptError(f'{source}: unknown key "{unknown[0]}"')
    if not isinstance(keys.get("output") or {}, dict):
        raise ScriptError(f'{source}: "output" must be an object')
    rows = []
    for number, line in enumerate(script, start=1):
        where = f"line {number}"
        if not isinstance(line, dict):
            raise ScriptError(f"{source}, {where}: must be an object")
        if line.get("id"):
            where += f" ({line['id']})"
        if ("speaker" in line) == ("speaker_id" in line):
            raise ScriptError(f'{where}: give either "speaker" or "speaker_id"')
        if not isinstance(line.get("speaker", ""), str):
            raise ScriptError(f'{where}: "speaker" must be a name')
        rows.append(where)
    if "retention_hours" in keys and keys["retention_hours"] is None:
        keys["retention_hours"] = "forever"  # as the client calls what JSON calls null
    return RequestFile(keys, tuple(rows))
