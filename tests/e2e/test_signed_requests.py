"""The signers that the documentation shows work as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import voicereel

from tests.e2e.human_speech import two_cities
from voicereel_site.local_stack import ROOT, LocalStack

PAGE = (ROOT / "templates/docs/signatures.md").read_text()


@pytest.fixture(scope="module")
def environment(tone_stack: LocalStack) -> dict[str, str]:
    """What the examples expect, with a key that requires signatures."""
    owner = voicereel.Client(tone_stack.manage("create_tenant", "Alder"), tone_stack.url)
    made = owner.create_key("nightly", require_signature=True)
    assert made.key is not None
    assert made.signing_secret is not None
    return dict(os.environ) | {
        "URL": tone_stack.url,
        "KEY": made.key,
        "SECRET": made.signing_secret,
    }


def example(language: str) -> str:
    return "".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


def test_the_python_signer_signs(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("python")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"spoken":"sequel"' in done.stdout.replace(" ", "")


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl"
)
def test_the_shell_signer_signs(environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-euc", example("sh")], env=environment, capture_output=True, text=True, check=True
    )
    assert '"next_cursor":null' in done.stdout


def test_the_client_signs_everything_it_sends(environment: dict[str, str], tmp_path: Path) -> None:
    client = voicereel.Client(
        environment["KEY"], environment["URL"], signing_secret=environment["SECRET"]
    )
    counted: list[int] = []
    speaker = client.register_speaker(
        "Anna",
        two_cities(),
        consent=True,
        on_progress=lambda done, total: counted.append(done),
    )
    assert counted == sorted(counted)
    client.wait_for_speaker(speaker.id, timeout_s=60)
    job = client.synthesize([{"speaker_id": speaker.id, "text": "Hello."}], title="밤")
    job = client.wait_for_job(job.id, timeout_s=60)
    assert client.download_audio(job, tmp_path / "a.mp3").stat().st_size > 0
    assert job.id in {one.id for one in client.iter_jobs(status="succeeded")}
    client.delete_job(job.id)
    unsigned = voicereel.Client(environment["KEY"], environment["URL"])
    with pytest.raises(voicereel.AuthenticationError) as refused:
        unsigned.list_jobs()
    assert refused.value.code == "invalid_signature"
