"""Files that live as long as one piece of work, and the sweeping up after work that was killed."""

import contextlib
import shutil
import time
from pathlib import Path

import structlog
from django.conf import settings
from django.core.files.uploadhandler import TemporaryFileUploadHandler

log = structlog.get_logger(__name__)

# No request and no upload takes so long; a worker touches its audio file as it writes.
_ABANDONED_S = 6 * 3600


class UploadHandler(TemporaryFileUploadHandler):
    """Receives uploads into the scratch folder, and takes back what does not fit on the disk.

    Django would keep the file until its garbage is collected: just when the space is needed most.
    """

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        try:
            super().receive_data_chunk(raw_data, start)
        except OSError:
            with contextlib.suppress(OSError):
                self.file.close()
            raise


def sweep_scratch() -> int:
    """Remove what killed processes of this machine left behind. Returns how many entries."""
    before = time.time() - _ABANDONED_S
    removed = 0
    for entry in Path(settings.SCRATCH_DIR).iterdir():
        try:
            inside = [] if entry.is_symlink() else entry.rglob("*")
            newest = max(path.lstat().st_mtime for path in [entry, *inside])
        except FileNotFoundError:
            continue  # somebody is done with it just now
        if newest >= before:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
        removed += 1
    if removed:
        log.info("scratch.swept", entries=removed)
    return removed
