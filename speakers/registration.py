"""What the API and the page of registration ask of recordings that were sent, and do with them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _

from accounts.models import Tenant
from accounts.outbox import ask_to_delete_files
from speakers.decoding import decoded
from speakers.enrollment import Enrollment, StoredReference, store_reference
from speakers.models import Speaker, speaker_folder
from speakers.serializers import RegisterSpeakerRequest
from voicereel_site.errors import FieldError, Refusal

LARGEST_BYTES = 50 * 1024 * 1024  # of all recordings of a speaker
_FORM_BYTES = 256 * 1024  # what the form may add to them


def refuse_too_large(request_bytes: int) -> None:
    """By what a request says of its length, before its body is read. Raises payload_too_large."""
    _refuse_beyond(request_bytes, LARGEST_BYTES + _FORM_BYTES)


def _refuse_beyond(sent_bytes: int, most_bytes: int) -> None:
    if sent_bytes > most_bytes:
        detail = _("The recordings may have %(most)s MB in all. Send FLAC or MP3.") % {
            "most": LARGEST_BYTES // 1024**2
        }
        raise Refusal("payload_too_large", detail, 413, [FieldError("/audio", detail)])


def checked_registration(
    fields: Mapping[str, Any], files: Sequence[UploadedFile]
) -> dict[str, Any]:
    """A form as RegisterSpeakerRequest validated it.

    Raises payload_too_large, DRF's ValidationError or consent_required.
    """
    _refuse_beyond(sum(file.size or 0 for file in files), LARGEST_BYTES)
    body = RegisterSpeakerRequest(data={**fields, "audio": list(files)})
    body.is_valid(raise_exception=True)
    asked: dict[str, Any] = body.validated_data
    if not asked["consent"]:
        detail = _(
            "Set consent to true to confirm that this voice is yours or that its owner agreed to "
            "have it synthesized."
        )
        raise Refusal("consent_required", detail, errors=[FieldError("/consent", detail)])
    return asked


def enrollment_of(asked: Mapping[str, Any]) -> Enrollment:
    """What was said of a new speaker."""
    return Enrollment(
        asked["name"], asked["language"], asked["transcript"], asked.get("metadata", {})
    )


def stored_recordings(tenant_id: str, files: Sequence[UploadedFile]) -> StoredReference:
    """The recordings, decoded and kept. Raises as speakers.decoding, and reference_too_short."""
    paths = [Path(file.temporary_file_path()) for file in files]
    with decoded(paths, [str(file.name) for file in files]) as clips:
        return store_reference(tenant_id, clips)


def forget_recordings(tenant: Tenant, reference: StoredReference) -> None:
    """Delete recordings that no speaker was made of."""
    # A commit whose acknowledgement was lost has made the speaker all the same.
    if not Speaker.objects.for_tenant(tenant).filter(pk=reference.speaker_id).exists():
        ask_to_delete_files(tenant.pk, speaker_folder(tenant.pk, reference.speaker_id))


@contextmanager
def kept_recordings(tenant: Tenant, reference: StoredReference) -> Iterator[None]:
    """Keep recordings if the block makes their speaker, and delete them if it fails."""
    try:
        yield
    except Exception:
        forget_recordings(tenant, reference)
        raise
