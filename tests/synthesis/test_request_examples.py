"""What pages show as a program's request is the page's own request, in every way."""

import json
import shlex
from types import SimpleNamespace
from typing import Any

import pytest
import voicereel
from voicereel import Line

from synthesis.request_examples import examples_of

LINES: list[dict[str, Any]] = [
    {
        "id": "a",
        "speaker_id": "spk_1",
        "text": 'It\'s "done".\nEND',
        "speed": 1.2,
        "language": "ko",
        "pause_after_ms": 250,
    },
    {"id": "b", "speaker_id": "spk_2", "text": "Good."},
]
REQUEST = {
    "title": "O'Neill",
    "output": {"format": "wav", "sample_rate": 48000, "bit_depth": 24},
    "script": LINES,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a program that is run asks the SDK for; nothing is sent."""
    found: dict[str, Any] = {}

    class Client:
        def __init__(self, *arguments: str, **options: str) -> None:
            found["client"] = [*arguments, *options.values()]

        def synthesize(self, script: list[Line], **options: Any) -> Any:
            found["request"] = options | {"script": [line.to_json() for line in script]}
            return SimpleNamespace(id="job_1")

        def wait_for_job(self, job_id: str) -> str:
            return job_id

        def download_audio(self, job: str, file: str) -> None:
            found["downloaded"] = (job, file)

    monkeypatch.setattr(voicereel, "Client", Client)
    return found


def test_every_way_asks_for_the_same(asked: dict[str, Any]) -> None:
    curl, python, command = examples_of(REQUEST, "http://127.0.0.1:8000", "vr_live_key")
    words = shlex.split(curl.code)
    assert json.loads(words[words.index("-d") + 1]) == REQUEST
    assert "Authorization: Bearer vr_live_key" in words
    exec(python.code, {})
    assert asked == {
        "client": ["vr_live_key", "http://127.0.0.1:8000"],
        "request": REQUEST,
        "downloaded": ("job_1", "audio.wav"),
    }
    sent = command.code.split("<<'END'\n")[1].split("\nEND\n")[0]
    assert json.loads(sent) == REQUEST


def test_a_long_script_is_cut_and_says_so(asked: dict[str, Any]) -> None:
    for example in examples_of({"script": LINES * 5}, "http://127.0.0.1:8000"):
        assert example.left_out == 4
        assert "vr_live" not in example.code
    exec(examples_of({"script": LINES * 5}, "http://127.0.0.1:8000")[1].code, {})
    assert asked["request"]["script"] == LINES * 3
