"""Stored files over HTTP: whole, in ranges, and from where an object store has them."""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from django.conf import settings
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http import HttpResponseRedirect as Redirect
from django.utils.translation import gettext as _

from accounts.stored_files import bucket
from voicereel_site.errors import problem_response

_CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def served_inline(request: HttpRequest, key: str, content_type: str) -> HttpResponseBase:
    """A file for a page of ours to play: from the disk, or from where the object store has it."""
    if bucket() is not None:
        parameters = {"ResponseContentType": content_type}
        return Redirect(default_storage.url(key, parameters=parameters, expire=settings.LINK_TTL_S))
    try:
        size = int(default_storage.size(key))
    except FileNotFoundError:
        return problem_response(404, "not_found", _("The file was deleted."))
    response = ranged(request, key, size, lambda: default_storage.open(key, "rb"))
    response["Content-Type"] = content_type
    response["Cache-Control"] = "private, no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def ranged(
    request: HttpRequest,
    name: str,
    size: int,
    open_file: Callable[[], BinaryIO],
    mark: bytes = b"",
) -> HttpResponseBase:
    """A file, or the one range of it that was asked for (RFC 9110, 14), to GET or HEAD.

    name: what no other content has, such as a storage key, which carries job and attempt and is never
    written twice. mark: bytes to stand before the file. size: with them.
    """
    etag = f'"{hashlib.sha256(mark + name.encode()).hexdigest()[:32]}"'
    start, end, status = 0, size - 1, 200
    # Ranges are defined for GET alone.
    asked = request.headers.get("Range", "") if request.method == "GET" else ""
    if request.headers.get("If-Range", etag) == etag and (match := _RANGE.fullmatch(asked.strip())):
        # Numbers of more digits than any size lie behind the end all the same.
        first, last = (digits[:18] for digits in match.groups())
        if first:
            start, end = int(first), min(int(last or size), size - 1)
        elif last:
            start = max(0, size - int(last))
        if (first or last) and start <= end:
            status = 206
        elif first or last:
            detail = _("The file has %(bytes)s bytes; ask for a range within them.")
            detail %= {"bytes": size}
            response = problem_response(416, "validation_error", detail)
            response["Content-Range"] = f"bytes */{size}"
            return response
    if request.method == "HEAD":
        response = HttpResponse(status=status)
    else:
        body = _read(open_file(), mark, start, end + 1)
        response = StreamingHttpResponse(body, status=status)
    if status == 206:
        response["Content-Range"] = f"bytes {start}-{end}/{size}"
    response["Content-Length"] = str(end - start + 1)
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = etag
    return response


def _read(file: BinaryIO, mark: bytes, start: int, end: int) -> Iterator[bytes]:
    """Bytes [start, end) of the mark and the file behind it."""
    with file:
        if start < len(mark):
            yield mark[start:end]
        file.seek(max(0, start - len(mark)))
        left = end - max(start, len(mark))
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
