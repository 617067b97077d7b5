"""A newcomer's first day with the VoiceReel API: from two recordings to audio and captions.

Written from /v1/openapi.json and the guides in it alone, by somebody who had seen nothing else.

VOICEREEL_URL=http://127.0.0.1:8000 VOICEREEL_API_KEY=vr_... python first_day.py A.wav B.wav out
"""

import argparse
import contextlib
import hashlib
import html
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

TIME_LIMIT_S = 600.0
LINES = {
    "hello": "Good morning, did you sleep well?",
    "answer": "Like a stone in a quiet river.",
    "goodbye": "Then we can begin at last.",
}


class Unexpected(Exception):
    """Something was not as the API's document says."""


def check(condition: bool, message: str) -> None:
    """Stop with the message unless the condition holds."""
    if not condition:
        raise Unexpected(message)


def call(
    client: httpx.Client, method: str, url: str, expect: int, key: str = "", **options: Any
) -> httpx.Response:
    """Send a request, wait on 429 and 503 as the answer asks, and check the status at last."""
    headers = {"Idempotency-Key": key} if key else {}
    request = client.build_request(method, url, headers=headers, **options)
    deadline = time.monotonic() + TIME_LIMIT_S
    while True:
        response = client.send(request)  # to the byte the same each time
        said = f"{method} {request.url.path}: {response.status_code} {response.reason_phrase}"
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            problem = response.json()
            said += f", {problem['code']}: {problem['detail']} ({problem['request_id']})"
        if response.status_code not in (429, 503):
            check(response.status_code == expect, f"expected {expect}, got {said}")
            return response
        wait = response.headers.get("Retry-After", "")
        check(wait.isdecimal(), f"there are no seconds in Retry-After {wait!r} of {said}")
        check(time.monotonic() + int(wait) < deadline, f"no time is left to wait after {said}")
        print(f"  {said}; waiting {wait} s")
        time.sleep(int(wait))


def poll(client: httpx.Client, url: str, unfinished: set[str]) -> dict[str, Any]:
    """GET a speaker or job until its status is final, printing whatever changes."""
    deadline, shown = time.monotonic() + TIME_LIMIT_S, ""
    while True:
        body: dict[str, Any] = call(client, "GET", url, 200).json()
        state = body["status"]
        if progress := body.get("progress"):
            state += f", {progress['lines_done']} of {progress['lines_total']} lines"
        if state != shown:
            print(f"  {url}: {state}")
            shown = state
        if body["status"] not in unfinished:
            return body
        check(time.monotonic() < deadline, f"{url} is still {state} after {TIME_LIMIT_S:.0f} s")
        time.sleep(1)


def rows(client: httpx.Client, url: str, limit: int) -> Iterator[dict[str, Any]]:
    """Every row of a list, page by page."""
    params: dict[str, str | int] = {"limit": limit}
    while True:
        page = call(client, "GET", url, 200, params=params).json()
        yield from page["data"]
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]


def plain(kind: str, content: bytes) -> str:
    """The text of a caption file with single spaces and no markup."""
    text = content.decode("utf-8-sig")
    if kind == "json":
        return json.dumps(json.loads(text))
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split())


def download(job: dict[str, Any], folder: Path) -> None:
    """Fetch the audio and captions, without the key, and check them against job and script."""
    audio, captions = job["audio"], job["captions"]
    check(bool(audio) and set(captions or ()) == {"json", "vtt", "srt"}, f"files lack: {job}")
    folder.mkdir(parents=True, exist_ok=True)
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        sound = call(client, "GET", audio["url"], 200).content
        (folder / f"first_day.{audio['format']}").write_bytes(sound)
        found = {"size_bytes": len(sound), "sha256": hashlib.sha256(sound).hexdigest()}
        check(found.items() <= audio.items(), f"the audio has {found}, not as in {audio}")
        for kind, url in captions.items():
            content = call(client, "GET", url, 200).content
            (folder / f"first_day.{kind}").write_bytes(content)
            for text in LINES.values():
                check(text in plain(kind, content), f"the {kind} captions lack {text!r}")


def make_mistake(client: httpx.Client, run: str) -> None:
    """Name a speaker that does not exist, and print which line is refused and why."""
    body = {
        "script": [{"id": "mistake", "speaker_id": "spk_0", "text": "Who am I?"}],
        "metadata": {"run": run},
    }
    answer = call(client, "POST", "/v1/synthesize", 422, str(uuid.uuid4()), json=body)
    problem = answer.json()
    check(problem["code"] == "speaker_not_found", f"wrong code in {problem}")
    for error in problem["errors"]:
        print(f"  line {error['line_id']!r}, {error['pointer']}: {error['detail']}")
    places = [(error["pointer"], error["line_id"]) for error in problem["errors"]]
    check(places == [("/script/0/speaker_id", "mistake")], f"wrong places in {problem}")


def first_day(client: httpx.Client, recordings: list[Path], folder: Path, made: list[str]) -> None:
    """Do it all; `made` holds the paths of what is to be deleted, the job before the speakers."""
    run = str(uuid.uuid4())  # marks in `metadata` whatever this run makes
    print("Registering two speakers")
    speakers: list[str] = []
    for name, path in zip(("Anna", "Ben"), recordings, strict=True):
        form = {"name": name, "language": "en", "consent": "true"}
        form["metadata"] = json.dumps({"run": run})
        upload = {"data": form, "files": [("audio", (path.name, path.read_bytes()))]}
        answer = call(client, "POST", "/v1/speakers", 201, str(uuid.uuid4()), **upload)
        speakers.append(answer.json()["id"])
        made.append(f"/v1/speakers/{speakers[-1]}")
    for url in list(made):
        speaker = poll(client, url, {"processing"})
        why = speaker["failure_reasons"]
        check(speaker["status"] == "ready", f"{url} is {speaker['status']}: {why}")

    print("Submitting a conversation, twice with one Idempotency-Key")
    script = [
        {"id": line_id, "speaker_id": speakers[number % 2], "text": text}
        for number, (line_id, text) in enumerate(LINES.items())
    ]
    body = {"title": "First day", "script": script, "metadata": {"run": run}}
    key = str(uuid.uuid4())
    job_id = call(client, "POST", "/v1/synthesize", 202, key, json=body).json()["id"]
    job_url = f"/v1/jobs/{job_id}"
    made.insert(0, job_url)
    again = call(client, "POST", "/v1/synthesize", 202, key, json=body)
    check(again.json()["id"] == job_id, "the same Idempotency-Key made a second job")
    replayed = again.headers.get("Idempotent-Replayed")
    check(replayed == "true", f"Idempotent-Replayed of the second answer is {replayed!r}")
    job = poll(client, job_url, {"queued", "processing"})
    check(job["status"] == "succeeded", f"the job is {job['status']}: {job['error']}")

    print(f"Downloading audio and captions into {folder}")
    download(job, folder)
    print("Making a mistake")
    make_mistake(client, run)
    print("Paging through the jobs one by one")
    listed = [row["id"] for row in rows(client, "/v1/jobs", limit=1)]
    check(listed.count(job_id) == 1, f"the job is {listed.count(job_id)} times in the list")

    print("Deleting the job and the speakers")
    while made:
        call(client, "DELETE", made[0], 204)
        gone = call(client, "GET", made[0], 404).json()
        check(gone["code"] == "not_found", f"wrong code in {gone}")
        made.pop(0)
    for url in ("/v1/jobs", "/v1/speakers"):
        left = [row["id"] for row in rows(client, url, 100) if row["metadata"].get("run") == run]
        check(not left, f"{url} still lists {left}")
    print(f"All was as documented. {len(listed)} jobs listed, {job_id} among them, now deleted.")
    print(f"{job['audio']['duration_ms'] / 1000:.1f} s of audio and its captions are in {folder}.")


def main() -> int:
    """Read the settings, do it all, and delete what was made even if something went wrong."""
    parser = argparse.ArgumentParser(description="A first day with the VoiceReel API.")
    parser.add_argument("recordings", nargs=2, type=Path, help="two recordings of 30 s to 10 min")
    parser.add_argument("folder", type=Path, help="where audio and captions go")
    args = parser.parse_args()
    url, key = os.environ.get("VOICEREEL_URL"), os.environ.get("VOICEREEL_API_KEY")
    if not url or not key:
        parser.error("VOICEREEL_URL and VOICEREEL_API_KEY have to be set")
    made: list[str] = []
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        try:
            first_day(client, args.recordings, args.folder, made)
            return 0
        except (Unexpected, httpx.HTTPError, OSError, KeyError, ValueError) as error:
            print(f"FAILED: {type(error).__name__}: {error}", file=sys.stderr)
            for path in made:
                with contextlib.suppress(Unexpected, httpx.HTTPError):
                    call(client, "DELETE", path, 204)
            return 1


if __name__ == "__main__":
    sys.exit(main())
