"""Folders of the audio storage, whichever storage it is."""

import contextlib

from django.core.files.storage import FileSystemStorage, default_storage, storages


def delete_folder(folder: str) -> None:
    """Delete every file below ``folder``; what is already gone is fine."""
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    for name in files:
        if name:
            default_storage.delete(f"{folder}/{name}")
    for name in folders:
        delete_folder(f"{folder}/{name}")
    if isinstance(storages["default"], FileSystemStorage):
        # An object store has no folders to remove; here a file may just have been added.
        with contextlib.suppress(OSError):
            default_storage.delete(folder)
