"""The five-minute tour of the README, run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from voicereel_site.local_stack import ROOT, LocalStack


def tour() -> str:
    """The shell blocks between "Five minutes" and the next heading, but for starting the server."""
    section = (ROOT / "README.md").read_text().split("## Five minutes")[1].split("\n## ")[0]
    return "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))


def test_the_five_minute_tour_works_as_written(stack: LocalStack, tmp_path: Path) -> None:
    folder = tmp_path / "voicereel"
    folder.mkdir()
    # The checkout's own files, and a place for what the tour writes.
    for name in os.listdir(ROOT):
        if name not in {"var", ".git"}:
            (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").unlink(missing_ok=True)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    script = tour().replace("http://127.0.0.1:8000", stack.url)
    assert script.count("voicereel register") == 2
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "hello.mp3").stat().st_size > 10_000
    assert "<v Ben>" in (folder / "hello.vtt").read_text()
    assert "Anna: Is this thing on?" in (folder / "hello.srt").read_text()
    assert '"status":"succeeded"' in done.stdout
