"""What a newcomer wrote from the API's document alone works as it stands."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.human_speech import two_cities
from voicereel_site.local_stack import LocalStack


def test_a_newcomers_first_day_goes_as_documented(stack: LocalStack, tmp_path: Path) -> None:
    key = stack.manage("create_tenant", "Newcomer")
    script = Path(__file__).with_name("first_day.py")
    recording = str(two_cities())
    done = subprocess.run(
        [sys.executable, str(script), recording, recording, str(tmp_path / "out")],
        env=stack.environment | {"VOICEREEL_URL": stack.url, "VOICEREEL_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All was as documented." in done.stdout
    assert "line 'mistake', /script/0/speaker_id" in done.stdout
    kinds = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert kinds == {".mp3", ".json", ".vtt", ".srt"}
