"""What lies in the audio storage."""

from pathlib import Path

from django.core.files.storage import default_storage


def files_below(folder: str) -> list[str]:
    """The storage keys of all files below a folder, sorted."""
    root = Path(default_storage.path(""))
    return sorted(
        str(path.relative_to(root)) for path in (root / folder).rglob("*") if path.is_file()
    )
