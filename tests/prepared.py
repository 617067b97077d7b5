"""A database file with all tables, made once in each process of tests: to migrate a new one takes ten times as long
as to copy it, and tests start the product some forty times.
"""

import atexit
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from voicereel_site.local_stack import ROOT

_NAME = "voicereel.sqlite3"


def put_database(var: Path) -> None:
    """Let the embedded profile find its database, at rest, in what will be its VOICEREEL_VAR."""
    var.mkdir(parents=True, exist_ok=True)
    with (
        closing(sqlite3.connect(_migrated())) as source,
        closing(sqlite3.connect(var / _NAME)) as copy,
    ):
        source.backup(copy)


@cache
def _migrated() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="voicereel-prepared-"))
    atexit.register(shutil.rmtree, folder)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={**os.environ, "VOICEREEL_VAR": str(folder), "DATABASE_URL": "", "REDIS_URL": ""},
        check=True,
    )
    return folder / _NAME
