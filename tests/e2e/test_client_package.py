"""The SDK and the CLI from ``sdk/`` installed alone, against the live server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.e2e.human_speech import two_cities
from tests.prepared import put_database
from voicereel_site.local_stack import ROOT, LocalStack

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("client")
    with (folder / "server.log").open("ab") as log:
        environment = {"VOICEREEL_VAR": str(folder), "VOICEREEL_ENGINE": "tone"}
        put_database(folder)
        with LocalStack(environment=environment, log=log, migrate=False) as running:
            yield running


@pytest.fixture(scope="module")
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but ``pip install ./sdk``. Returns its bin folder."""
    folder = tmp_path_factory.mktemp("sdk") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    # A copy, because setuptools builds in place.
    source = folder.parent / "sdk"
    subprocess.run(["cp", "-r", str(ROOT / "sdk"), str(source)], check=True)
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def run(stack: LocalStack, own_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),
        "VOICEREEL_URL": stack.url,
        "VOICEREEL_API_KEY": stack.manage("create_tenant", "Client"),
    }

    def voicereel(*arguments: str, code: int = 0, **options: Any) -> Any:
        done = subprocess.run(
            [str(own_environment / "voicereel"), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment | options.pop("env", {}),
            **options,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done

    return voicereel


@pytest.fixture(scope="module")
def speakers(run: Run) -> dict[str, str]:
    """Anna by the long command and Ben by the short one. Returns ids by name."""
    audio = str(two_cities())
    run("speakers", "register", "Anna", audio, "--consent")
    run("register", "Ben", audio, "--consent", "--metadata", "role=guest")
    listed = json.loads(run("list-speakers", "--json").stdout)
    return {speaker["name"]: speaker["id"] for speaker in listed["data"]}


def test_the_version_is_printed(run: Run) -> None:
    assert "1.0.0" in run("--version").stdout


def test_speakers_are_registered_listed_shown_and_deleted(
    run: Run, speakers: dict[str, str]
) -> None:
    assert set(speakers) >= {"Anna", "Ben"}
    assert "Ben" in run("speakers", "show", speakers["Ben"]).stdout
    made = json.loads(run("--json", "register", "Gone", str(two_cities()), "--consent").stdout)
    run("speakers", "delete", made["id"], "--yes")
    run("speakers", "show", made["id"], code=4)


def test_registering_without_consent_is_refused_with_one_line(run: Run) -> None:
    done = run("register", "Anna", str(two_cities()), code=2)
    assert done.stderr.startswith("error: ")
    assert "consent" in done.stderr


def test_a_plain_text_script_becomes_audio_and_captions(
    run: Run, speakers: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out.mp3"
    script = str(ROOT / "examples" / "conversation.en.txt")
    done = run("synthesize", script, "-o", str(out), "--captions", "vtt,srt")
    assert soundfile.info(out).duration > 10
    assert (tmp_path / "out.vtt").read_text().startswith("WEBVTT")
    assert "Anna: " in (tmp_path / "out.srt").read_text()
    assert "x real time" in done.stdout + done.stderr


def test_a_json_script_is_submitted_and_fetched_later(
    run: Run, speakers: dict[str, str], tmp_path: Path
) -> None:
    script = str(ROOT / "examples" / "conversation.en.json")
    job = json.loads(run("--json", "synthesize", script, "--no-wait").stdout)
    out = tmp_path / "later.wav"
    # The job's own format is what is downloaded, whatever the name.
    run("jobs", "download", job["id"], "-o", str(out), "--captions", "json")
    assert json.loads((tmp_path / "later.json").read_text())["cues"]
    shown = json.loads(run("job", job["id"], "--json").stdout)
    assert shown["status"] == "succeeded"
    listed = json.loads(run("jobs", "list", "--status", "succeeded", "--json").stdout)
    assert job["id"] in [row["id"] for row in listed["data"]]
    run("jobs", "delete", job["id"], "--yes")
    run("jobs", "show", job["id"], code=4)


def test_a_job_is_canceled_and_retried(run: Run, speakers: dict[str, str], tmp_path: Path) -> None:
    lines = [{"speaker": "Anna", "text": "A line that takes its time. " * 40} for _ in range(150)]
    script = tmp_path / "long.json"
    script.write_text(json.dumps({"script": lines, "output": {"format": "flac"}}))
    job = json.loads(run("--json", "synthesize", str(script), "--no-wait").stdout)
    run("jobs", "cancel", job["id"])
    assert json.loads(run("job", job["id"], "--json").stdout)["status"] == "canceled"
    run("jobs", "retry", job["id"], "--no-wait")
    assert json.loads(run("job", job["id"], "--json").stdout)["status"] != "canceled"
    run("jobs", "delete", job["id"], "--yes")


def test_pronunciations_are_set_listed_and_kept_when_a_file_is_refused(
    run: Run, tmp_path: Path
) -> None:
    assert run("pronunciations").stdout == "no pronunciations\n"
    file = tmp_path / "words.csv"
    file.write_text("language,written,spoken\nko,SQL,에스큐엘\nen,SQL,sequel\n")
    assert run("pronunciations", "set", str(file)).stdout == "pronunciations set: 2\n"
    assert run("pronunciations").stdout.splitlines() == [
        "LANGUAGE  WRITTEN  SPOKEN",
        "en        SQL      sequel",
        "ko        SQL      에스큐엘",
    ]
    with file.open("a") as more:
        more.write("\nen,sql,squeal\nen-US,GIF,jif\n")
    done = run("pronunciations", "set", str(file), code=2)
    assert "line 6: language: Use a language code without a region" in done.stderr
    file.write_text(file.read_text().replace("en-US", "en"))
    done = run("pronunciations", "set", str(file), code=2)
    assert "line 5: written: There is an entry for SQL in en already" in done.stderr
    # What is printed for programs can be set again.
    printed = run("pronunciations", "list", "--json").stdout
    run("pronunciations", "set", "-", input='{"entries": []}')
    assert json.loads(run("--json", "pronunciations").stdout) == {"entries": []}
    assert run("pronunciations", "set", "-", "--json", input=printed).stdout == printed
    assert len(json.loads(printed)["entries"]) == 2


def test_an_unknown_speaker_names_the_row(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("Anna: Hello.\nNobody: Who am I?\n")
    done = run("synthesize", str(script), "-o", str(tmp_path / "x.mp3"), code=2)
    assert "Nobody" in done.stderr
    assert "2" in done.stderr


def test_a_server_refusal_lists_the_lines(
    run: Run, speakers: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "script.json"
    line = {"speaker_id": speakers["Anna"], "text": "Hello.", "speed": 9}
    script.write_text(json.dumps({"script": [line | {"id": "l1"}]}))
    done = run("synthesize", str(script), "-o", str(tmp_path / "x.mp3"), code=2)
    assert "l1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_and_an_absent_server_have_codes_of_their_own(run: Run) -> None:
    run("jobs", "list", code=3, env={"VOICEREEL_API_KEY": "vr_live_wrong"})
    done = run("jobs", "list", code=6, env={"VOICEREEL_URL": "http://127.0.0.1:9"})
    assert done.stderr.count("\n") == 1


def test_the_sdk_does_it_all_from_python(
    stack: LocalStack, own_environment: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import sys, httpx, voicereel
client = voicereel.Client()
sent = []
made = client.register_speaker("Py", sys.argv[1], consent=True, on_progress=lambda *a: sent.append(a))
assert len(sent) > 3, "the upload is streamed with progress"
speaker = client.wait_for_speaker(made.id)
speaker = client.update_speaker(speaker.id, name="Python", metadata={"a": "b"})
assert client.get_speaker(speaker.id).name == "Python"
assert speaker.id in [s.id for s in client.iter_speakers()]
job = client.synthesize([{"speaker_id": speaker.id, "text": "Hello from Python."}], title="T")
seen = []
job = client.wait_for_job(job.id, on_progress=seen.append)
client.download_audio(job, "a.mp3")
client.download_captions(job, "vtt", "a.vtt")
whole = open("a.mp3", "rb").read()
open("b.mp3.part", "wb").write(whole[:1000])
open("b.mp3.part.etag", "w").write(httpx.head(job.audio.url).headers["ETag"])
received = []
client.download_audio(job, "b.mp3", on_progress=lambda done, total: received.append(done))
assert received[0] >= 1000, "an earlier run's bytes are kept"
assert open("b.mp3", "rb").read() == whole
assert job.id in [j.id for j in client.iter_jobs()]
try:
    client.retry_job(job.id)
except voicereel.Conflict as error:
    assert "succeeded" in str(error)
gif = voicereel.Pronunciation("en", "GIF", "jif")
sql = {"language": "en", "written": "SQL", "spoken": "sequel"}
assert client.replace_pronunciations([sql, gif]) == [gif, voicereel.Pronunciation(**sql)]
assert client.replace_pronunciations([gif]) == client.pronunciations() == [gif]
try:
    client.replace_pronunciations([gif, gif])
except voicereel.InvalidRequest as error:
    assert error.errors[0].pointer == "/entries/1/written"
assert client.pronunciations() == [gif]
client.delete_job(job.id)
client.delete_speaker(speaker.id)
try:
    client.get_job(job.id)
except voicereel.NotFound:
    print("done")
"""
    )
    environment = {
        "VOICEREEL_URL": stack.url,
        "VOICEREEL_API_KEY": stack.manage("create_tenant", "Python"),
    }
    done = subprocess.run(
        [str(own_environment / "python"), str(program), str(two_cities())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr
    assert (tmp_path / "a.mp3").stat().st_size > 1000
