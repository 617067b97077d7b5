"""Scratch files do not outlive their work for long."""

import os
import time
from pathlib import Path

import pytest
from django.conf import settings

from accounts.scratch import sweep_scratch

SCRATCH = Path(settings.SCRATCH_DIR)


def age(path: Path, hours: float) -> None:
    then = time.time() - hours * 3600
    os.utime(path, (then, then), follow_symlinks=False)


@pytest.mark.parametrize(("hours", "removed"), [(5.9, 0), (6.1, 1)])
def test_what_nobody_touched_for_six_hours_is_removed(hours: float, removed: int) -> None:
    upload, folder = SCRATCH / "upload.wav", SCRATCH / "render-x"
    folder.mkdir()
    audio = folder / "audio.wav"
    for path in (upload, audio):
        path.write_bytes(b"x")
        age(path, hours)
    age(folder, 100)
    assert sweep_scratch() == 2 * removed
    assert upload.exists() == audio.exists() == (not removed)
    if not removed:
        upload.unlink()
        audio.unlink()
        folder.rmdir()


def test_a_folder_that_is_written_to_stays() -> None:
    folder = SCRATCH / "render-y"
    folder.mkdir()
    audio = folder / "audio.wav"
    audio.write_bytes(b"x")
    age(folder, 100)
    assert sweep_scratch() == 0
    audio.unlink()
    folder.rmdir()


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_bytes(b"x")
    link = SCRATCH / "link"
    link.symlink_to(target)
    age(link, 100)
    sweep_scratch()
    assert not link.is_symlink()
    assert (target / "file").exists()
