"""A service that was destroyed is back as it was at a chosen second; and what was erased does not come back."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.stored_files import delete_below, restore_versions
from benchmarks.restore_drill import ARCHIVE_TIMEOUT_S, run_drill
from tests.operations.servers import SeaweedFS, wait_until

pytestmark = pytest.mark.services


@pytest.mark.drills
def test_everything_of_a_chosen_second_is_back(tmp_path: Path) -> None:
    drill = run_drill(tmp_path)
    assert {"synthesis_job", "synthesis_line", "speakers_speaker", "billing_usageevent"} <= set(
        drill.tables
    )
    assert drill.brought_back > 0
    # A part of the archive's timeout, and what it takes to push a segment.
    assert 0 <= drill.lost_s < 3 * ARCHIVE_TIMEOUT_S


def test_versions_come_back_but_for_those_that_were_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SeaweedFS(tmp_path / "s3") as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        from storages.backends.s3 import S3Storage

        bucket = S3Storage(
            bucket_name=server.BUCKET,
            endpoint_url=server.url,
            region_name="us-east-1",
            addressing_style="path",
        ).bucket
        monkeypatch.setattr("accounts.stored_files.bucket", lambda: bucket)
        client = server.client()

        def put(key: str, body: bytes) -> None:
            client.put_object(Bucket=server.BUCKET, Key=key, Body=body)

        put("t/one/s/voice.flac", b"mine")
        # Without versions nothing comes back, and an erasure deletes what there is.
        with pytest.raises(ValueError, match="keeps no versions"):
            restore_versions(datetime.now(UTC))
        delete_below("t/one/s", for_good=True)
        assert server.stored_keys() == []
        client.put_bucket_versioning(
            Bucket=server.BUCKET, VersioningConfiguration={"Status": "Enabled"}
        )
        for key in ("t/one/j/a.wav", "t/one/j/b.wav", "t/one/s/voice.flac", "t/ones/x.wav"):
            put(key, b"first")
        wait_until(lambda: datetime.now(UTC).microsecond < 200_000, "a new second", 2, 0.01)
        chosen = datetime.now(UTC)
        wait_until(lambda: datetime.now(UTC).second != chosen.second, "the next", 3, 0.01)
        put("t/one/j/a.wav", b"second")
        put("t/one/j/new.wav", b"later")
        delete_below("t/one/j/b.wav")
        delete_below("t/one/s", for_good=True)
        assert restore_versions(chosen, "t/one/") == 2
        found = {
            key: client.get_object(Bucket=server.BUCKET, Key=key)["Body"].read()
            for key in server.stored_keys()
        }
        assert found == {
            "t/one/j/a.wav": b"first",
            "t/one/j/b.wav": b"first",
            "t/one/j/new.wav": b"later",
            "t/ones/x.wav": b"first",
        }
        # Once more there is nothing left to do; all of it goes for good.
        assert restore_versions(chosen, "t/one/") == 0
        delete_below("t/one", for_good=True)
        left = client.list_object_versions(Bucket=server.BUCKET)
        assert {one["Key"] for one in left["Versions"]} == {"t/ones/x.wav"}
        assert not left.get("DeleteMarkers")


def test_a_disk_keeps_no_versions() -> None:
    with pytest.raises(CommandError, match="keeps no versions"):
        call_command("restore_files", "2026-11-28T12:00:00Z", stdout=io.StringIO())
    for text in ("yesterday", "2026-11-28T12:00:00"):
        with pytest.raises(CommandError, match=r"Say of which zone|Invalid isoformat"):
            call_command("restore_files", text)
