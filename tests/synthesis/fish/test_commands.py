"""What an operator runs before the engine."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from synthesis.engines.fish.checkpoint import FILES
from voicereel_site.local_stack import ROOT


def test_fish_check_says_what_a_checkpoint_is(
    checkpoint_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("fish_check", str(checkpoint_folder))
    said = capsys.readouterr().out
    assert said.startswith("Whole. 968,832 parameters")
    digest = hashlib.sha256((checkpoint_folder / "model.pth").read_bytes()).hexdigest()
    assert f"sha256 {digest}  model.pth" in said
    assert "layers 2, dim 64, heads 4" in said


def test_fish_check_refuses_what_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"Not whole: .*config\.json, model\.pth"):
        call_command("fish_check", str(tmp_path))


def test_fish_fetch_shows_the_licence_and_fetches_nothing_unless_it_is_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="--accept-licence"):
        call_command("fish_fetch", str(tmp_path))
    assert "CC BY-NC-SA 4.0" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


class Hub(BaseHTTPRequestHandler):
    """As much of Hugging Face as a download asks for."""

    folder: Path

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.folder / self.path.rsplit("/", 1)[-1].split("?")[0]
        known = self.path.startswith("/fishaudio/fish-speech-1.5/resolve/main/") and path.is_file()
        data = path.read_bytes() if known else b""
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(checkpoint_folder: Path) -> Iterator[str]:
    handler = type("HubOfACheckpoint", (Hub,), {"folder": checkpoint_folder})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fetch(hub: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(folder.parent / "hub")}
    return subprocess.run(
        [sys.executable, "manage.py", "fish_fetch", str(folder), "--accept-licence"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_fish_fetch_fetches_the_files_of_the_checkpoint(
    hub: str, tmp_path: Path, checkpoint_folder: Path
) -> None:
    folder = tmp_path / "weights"
    done = fetch(hub, folder)
    for name in FILES:
        assert (folder / name).read_bytes() == (checkpoint_folder / name).read_bytes(), done.stderr
    # The published codec is not the tiny one, and the tiny one says so in a file that is not fetched.
    assert done.returncode == 1
    assert "not whole" in done.stderr


@pytest.mark.services  # its library tries for half a minute
def test_fish_fetch_says_what_to_do_when_nothing_answers(tmp_path: Path) -> None:
    done = fetch("http://127.0.0.1:9", tmp_path / "weights")
    assert done.returncode == 1
    assert "config.json could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr
