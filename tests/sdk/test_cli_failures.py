"""What the command line prints and returns, above all when something fails."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from voicereel.cli import main

from .conftest import KEY
from .samples import finished_job, job, speaker
from .scripted_server import Reply, ScriptedServer, document, problem

AUDIO = b"not really mp3" * 100
SCRIPT = "Anna: Hello.\nBen: Hi.\n"
TWO = [speaker(id="spk_a", name="Anna"), speaker(id="spk_b", name="Ben")]


@pytest.fixture
def script(server: ScriptedServer, tmp_path: Path) -> str:
    server.script("GET", "/v1/speakers", document({"data": TWO, "next_cursor": None}))
    path = tmp_path / "talk.txt"
    path.write_text(SCRIPT)
    return str(path)


def script_success(server: ScriptedServer) -> None:
    done = finished_job(
        AUDIO,
        server.url + "/file",
        captions={"vtt": server.url + "/vtt", "srt": server.url + "/srt"},
        notices=["Korean is experimental."],
    )
    server.script("POST", "/v1/synthesize", document(job(status="queued"), 202))
    server.script("GET", "/v1/jobs/job_1", document(done))
    server.script("GET", "/file", Reply(200, AUDIO, {"ETag": '"v1"'}))
    server.script("GET", "/vtt", Reply(200, b"WEBVTT\n"))
    server.script("GET", "/srt", Reply(200, b"1\n"))


def sent_request(server: ScriptedServer) -> dict:
    return next(json.loads(r.body) for r in server.received if r.path == "/v1/synthesize")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (413, 2), (415, 2), (422, 2), (401, 3), (403, 3), (404, 4), (409, 5), (500, 6)],
)
def test_each_kind_of_refusal_has_its_exit_code_and_one_line(
    server: Any, capsys: Any, status: Any, code: Any
) -> None:
    server.script("GET", "/v1/jobs/job_1", problem(status, "refused", "because\nof this"))
    assert main(["job", "job_1"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: because of this (request req_1)\n"


def test_a_server_that_is_not_there_ends_with_exit_code_6(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr("voicereel.retry.time.sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert main(["--url", "http://127.0.0.1:9", "--api-key", KEY, "jobs", "list"]) == 6
    err = capsys.readouterr().err
    assert err.startswith("error: no answer from http://127.0.0.1:9")
    assert err.count("\n") == 1


def test_a_missing_key_ends_with_exit_code_3(server: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.delenv("VOICEREEL_API_KEY")
    assert main(["jobs", "list"]) == 3
    assert capsys.readouterr().err == "error: no API key: set VOICEREEL_API_KEY\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["jobs"], ["job"], ["jobs", "list", "--status", "odd"], ["job", "../x"]],
)
def test_wrong_usage_ends_with_exit_code_2_and_one_line(
    server: Any, capsys: Any, arguments: Any
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--json", "job", "job_9"], ["job", "job_9", "--json"]])
def test_with_json_an_error_is_one_document_on_stdout(
    server: Any, capsys: Any, arguments: Any
) -> None:
    assert main(arguments) == 4
    out, err = capsys.readouterr()
    assert err == ""
    error = json.loads(out)["error"]
    assert (error["code"], error["status"], error["request_id"]) == ("not_found", 404, "req_1")


def test_with_json_wrong_usage_is_a_document_too(server: Any, capsys: Any) -> None:
    assert main(["jobs", "list", "--odd", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_each_faulty_line_of_a_refused_script_is_named(
    server: Any, script: Any, capsys: Any
) -> None:
    entry = {"pointer": "/script/1/text", "line_id": "row2", "detail": "Shorten it."}
    server.script("POST", "/v1/synthesize", problem(422, "invalid", "1 line is faulty", [entry]))
    assert main(["synthesize", script, "--no-wait"]) == 2
    err = capsys.readouterr().err
    assert err == "error: 1 line is faulty (request req_1)\n  line row2: Shorten it.\n"


def test_an_unknown_speaker_is_named_with_its_row_before_a_job_is_made(
    server: Any, script: Any, capsys: Any
) -> None:
    Path(script).write_text(SCRIPT + "Bob: Hey.\n")
    assert main(["synthesize", script, "--no-wait"]) == 2
    assert 'row 3: no speaker is called "Bob"' in capsys.readouterr().err
    assert not any(request.method == "POST" for request in server.received)


def test_a_voice_without_consent_is_refused_in_one_line(
    server: Any, tmp_path: Any, capsys: Any
) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    assert main(["register", "Anna", str(tmp_path / "a.wav")]) == 2
    err = capsys.readouterr().err
    assert "--consent" in err
    assert err.count("\n") == 1
    assert server.received == []


def test_a_failed_speaker_ends_with_exit_code_1_and_its_reasons(
    server: Any, tmp_path: Any, capsys: Any
) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    server.script("POST", "/v1/speakers", document(speaker(status="processing"), 201))
    reasons = [{"code": "too_short", "detail": "Record 30 s more."}]
    failed = speaker(status="failed", failure_reasons=reasons)
    server.script("GET", "/v1/speakers/spk_1", document(failed))
    assert main(["speakers", "register", "Anna", str(tmp_path / "a.wav"), "--consent"]) == 1
    assert capsys.readouterr().err.endswith(
        "error: speaker spk_1 (Anna) could not be made\n  Record 30 s more.\n"
    )


def test_a_failed_job_ends_with_exit_code_1_and_the_command_to_try_again(
    server: Any, script: Any, tmp_path: Any, capsys: Any
) -> None:
    script_success(server)
    error = {"code": "engine", "detail": "could not speak", "line_id": "row2"}
    server.script("GET", "/v1/jobs/job_1", document(job(status="failed", error=error)))
    assert main(["synthesize", script, "-o", str(tmp_path / "out.mp3")]) == 1
    err = capsys.readouterr().err
    assert "error: job job_1 failed (line row2): could not speak\n" in err
    assert "voicereel jobs retry job_1" in err


def test_an_output_that_cannot_be_written_is_refused_before_a_job_is_made(
    server: Any, script: Any, capsys: Any
) -> None:
    for output in ("/nowhere/out.mp3", "out.xyz"):
        assert main(["synthesize", script, "-o", output]) == 2
    assert server.received == []


@pytest.mark.parametrize("content", ["{", "[]", '{"script": 1}', '[{"text": "a"}]', '{"x": 1}'])
def test_a_faulty_json_script_is_refused_in_one_line(
    server: Any, tmp_path: Any, capsys: Any, content: Any
) -> None:
    path = tmp_path / "talk.json"
    path.write_text(content)
    assert main(["synthesize", str(path), "--no-wait"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_deleting_without_a_terminal_needs_yes(server: Any, capsys: Any) -> None:
    server.script("DELETE", "/v1/jobs/job_1", Reply(204))
    assert main(["jobs", "delete", "job_1", "--json"]) == 2
    assert server.received == []
    capsys.readouterr()
    assert main(["jobs", "delete", "job_1", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": "job_1", "deleted": True}


def test_a_script_becomes_audio_and_captions_beside_it(
    server: Any, script: Any, tmp_path: Any, capsys: Any
) -> None:
    script_success(server)
    output = tmp_path / "out.mp3"
    arguments = ["synthesize", script, "-o", str(output), "--captions", "vtt,srt", "--srt-bom"]
    assert main(arguments) == 0
    assert output.read_bytes() == AUDIO
    assert (tmp_path / "out.vtt").read_bytes() == b"WEBVTT\n"
    assert (tmp_path / "out.srt").exists()
    assert server.received[-1].path == "/srt?bom=1"
    sent = sent_request(server)
    assert sent["output"] == {"format": "mp3"}
    assert sent["captions"] == ["vtt", "srt"]
    assert sent["script"][1] == {"id": "row2", "speaker_id": "spk_b", "text": "Hi."}
    out, err = capsys.readouterr()
    assert "21.0 s, made at 2.0 x real time" in out
    assert "note: Korean is experimental." in err
    assert "\r" not in err


def test_with_json_a_synthesis_prints_one_document_and_no_progress(
    server: Any, script: Any, tmp_path: Any, capsys: Any
) -> None:
    script_success(server)
    assert main(["synthesize", script, "-o", str(tmp_path / "out.mp3"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result["files"]["audio"] == str(tmp_path / "out.mp3")
    assert result["duration_ms"] == 21000


@pytest.mark.parametrize("example", ["conversation.en", "conversation.ko"])
def test_the_examples_name_the_same_lines_as_text_and_as_json(server: Any, example: Any) -> None:
    examples = Path(__file__).parents[2] / "examples"
    server.script("POST", "/v1/synthesize", document(job(), 202))
    given = [
        f"--speaker={name}" for name in ("Anna=spk_a", "Ben=spk_b", "지민=spk_a", "민준=spk_b")
    ]
    for suffix in ("txt", "json"):
        path = str(examples / f"{example}.{suffix}")
        assert main(["synthesize", path, "--no-wait", *given]) == 0
    plain, whole = (json.loads(request.body)["script"] for request in server.received)
    assert [(line["speaker_id"], line["text"]) for line in plain] == [
        (line["speaker_id"], line["text"]) for line in whole
    ]


def test_ctrl_c_names_the_job_and_how_to_go_on_or_cancel(
    server: Any, script: Any, tmp_path: Any
) -> None:
    server.script("POST", "/v1/synthesize", document(job(), 202))
    server.script("GET", "/v1/jobs/job_1", document(job()))
    command = [sys.executable, "-m", "voicereel", "synthesize", script, "-o", "my out.mp3"]
    process = subprocess.Popen(
        [*command, "--speaker=Anna=spk_a", "--speaker=Ben=spk_b"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has it ignored, and children too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert server.two_received.wait(timeout=10)
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait(timeout=10)
    assert process.returncode == 130
    assert first == "speaking: 3 of 10 lines\n"
    assert err.splitlines() == [
        "error: interrupted; job_1 stays on the server",
        "  to go on: voicereel jobs download job_1 -o 'my out.mp3'",
        "  to cancel: voicereel jobs cancel job_1",
    ]


def test_the_exit_codes_are_in_the_help(capsys: Any) -> None:
    assert main(["--help"]) == 0
    assert "130  interrupted" in capsys.readouterr().out
