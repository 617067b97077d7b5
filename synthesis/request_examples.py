"""What a page did, as a program would ask for it: by curl, Python and the command line."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LINES_SHOWN = 6
_KEY = "$VOICEREEL_API_KEY"


@dataclass(frozen=True)
class Example:
    """name: of the way; code: to copy; left_out: how many lines of a long script are not in it."""

    name: str
    code: str
    left_out: int = 0


def examples_of(request: Mapping[str, Any], here: str, key: str = "") -> list[Example]:
    """A request for synthesis in each way. here: the address of this service; key: the person's own, while
    it is known; otherwise the environment has it.
    """
    script: Sequence[Mapping[str, Any]] = request["script"][:_LINES_SHOWN]
    body = {name: value for name, value in request.items() if name != "script" and value}
    left_out = len(request["script"]) - len(script)
    return [
        Example(name, write(body, script, here, key), left_out)
        for name, write in (("curl", _curl), ("Python", _python), ("CLI", _command_line))
    ]


def _curl(body: Mapping[str, Any], script: Sequence[Mapping[str, Any]], here: str, key: str) -> str:
    sent = json.dumps({**body, "script": list(script)}, ensure_ascii=False, indent=2)
    return (
        f'curl {here}/v1/synthesize \\\n  -H "Authorization: Bearer {key or _KEY}" \\\n'
        f"  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(sent)}"
    )


def _arguments(line: Mapping[str, Any]) -> str:
    named = (
        f"{name}={value!r}" for name, value in line.items() if name not in ("speaker_id", "text")
    )
    return ", ".join([repr(line["speaker_id"]), repr(line["text"]), *named])


def _python(
    body: Mapping[str, Any], script: Sequence[Mapping[str, Any]], here: str, key: str
) -> str:
    lines = "\n".join(f"    Line({_arguments(line)})," for line in script)
    options = "".join(f", {name}={value!r}" for name, value in body.items())
    arguments = f'"{key}", "{here}"' if key else f'base_url="{here}"'
    file = f"audio.{body.get('output', {}).get('format', 'mp3')}"
    return (
        f"from voicereel import Client, Line\n\nclient = Client({arguments})\nscript = [\n{lines}\n]\n"
        f"job = client.synthesize(script{options})\njob = client.wait_for_job(job.id)\n"
        f'client.download_audio(job, "{file}")'
    )


def _command_line(
    body: Mapping[str, Any], script: Sequence[Mapping[str, Any]], here: str, key: str
) -> str:
    sent = json.dumps({**body, "script": list(script)}, ensure_ascii=False, indent=2)
    file = f"audio.{body.get('output', {}).get('format', 'mp3')}"
    export = f"export VOICEREEL_URL={here}" + (f" VOICEREEL_API_KEY={key}" if key else "")
    return (
        f"{export}\ncat > script.json <<'END'\n{sent}\nEND\n"
        f"voicereel synthesize script.json -o {file} --captions vtt,srt"
    )
