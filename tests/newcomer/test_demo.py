"""The first command of the README and of the operations page."""

import json
import os
import subprocess

import pytest
import soundfile

from voicereel_site.local_stack import ROOT


@pytest.mark.drills  # a minute and a half, and it writes into var/demo
def test_the_demo_can_be_heard() -> None:
    done = subprocess.run(
        ["make", "demo"],
        cwd=ROOT,
        # Not the settings of tests: a newcomer's shell has none.
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = ROOT / "var/demo"
    heard = soundfile.info(folder / "conversation.mp3")
    assert heard.duration > 30
    cues = json.loads((folder / "conversation.json").read_text())["cues"]
    assert cues[-1]["end_sample"] <= heard.frames
    assert (folder / "conversation.vtt").read_text().startswith("WEBVTT")
