"""The log as a file of our own, out of which an erased tenant's lines are taken: each line that is
written for a tenant carries its id (accounts.tenancy).

What an operator sends elsewhere, such as to Loki, is deleted there (templates/docs/privacy.md).
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import WatchedFileHandler
from pathlib import Path

from django.conf import settings


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    """Held by every process that writes, together; and alone by one that takes lines out."""
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, kind)
        yield


class ErasableLog(WatchedFileHandler):
    """Adds lines to the file, which another process may have written anew meanwhile."""

    def emit(self, record: logging.LogRecord) -> None:
        with _locked(Path(self.baseFilename), fcntl.LOCK_SH):
            super().emit(record)


def erase_lines(tenant_id: str) -> int:
    """Take every line with a tenant's id out of the log file, if there is one, and out of what was
    rotated away from it and is not compressed. Returns how many.
    """
    if not settings.LOG_FILE:
        return 0
    path = Path(settings.LOG_FILE)
    with _locked(path, fcntl.LOCK_EX):
        files = [
            file
            for file in path.parent.glob(f"{path.name}*")
            if file.suffix not in (".lock", ".kept", ".gz", ".xz", ".zst")
        ]
        return sum(_without_lines(file, tenant_id.encode()) for file in files)


def _without_lines(path: Path, text: bytes) -> int:
    """Write a file anew without the lines that hold a text. Returns how many went."""
    erased = 0
    kept = path.with_name(f"{path.name}.kept")
    with path.open("rb") as old, kept.open("wb") as new:
        was = os.fstat(old.fileno())
        os.fchmod(new.fileno(), was.st_mode)
        os.fchown(new.fileno(), was.st_uid, was.st_gid)
        for line in old:
            if text in line:
                erased += 1
            else:
                new.write(line)
    os.replace(kept, path)
    return erased
