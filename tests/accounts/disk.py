"""What lies in the audio storage."""

from pathlib import Path

from django.core.files.storage import default_storage


def files_below(folder: str) -> list[str]:
    """The storage keys of all files below a folder, sorted."""
    root = Path(default_storage.path(""))
    return sorted(
        str(path.relative_to(root)) for path in (root / folder).rglob("*") if path.is_file()
    )


def contents_below(folder: str) -> dict[str, bytes]:
    """What stands in each file below a folder, by its storage key."""
    root = Path(default_storage.path(""))
    return {key: (root / key).read_bytes() for key in files_below(folder)}
