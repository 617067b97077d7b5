"""What a customer's voice is made with tells nobody of it."""

import os
import subprocess
import sys
from pathlib import Path

from voicereel_site.local_stack import ROOT

# As a worker does; CI would be reason enough for onnxruntime to be silent.
_LOAD_A_MODEL = """
import glob, os
import django
django.setup()
from synthesis.engines import speaker_encoder
speaker_encoder._session()
for link in glob.glob("/proc/self/fd/*"):
    if os.path.islink(link):
        print(os.readlink(link))
"""


def test_onnxruntime_keeps_nothing_to_send(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)  # which this process has
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_A_MODEL],
        cwd=ROOT,
        env=environment | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ".onnxruntime" not in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
