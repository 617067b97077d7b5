"""Erasing a speaker for good, with every job that has its voice: what a person may ask for whose voice
it is. Deleting a speaker, in contrast, leaves finished jobs as they are.
"""

from collections import Counter

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.callers import Caller
from accounts.models import DataExport, Erasure, IdempotentReply, WebhookDelivery
from accounts.outbox import ask_for_task
from accounts.privacy.erasures import ERASE_SPEAKER, count_files, go_on, note_erased
from accounts.privacy.exports import drop_archives
from accounts.stored_files import delete_below
from accounts.stored_sentences import EXPORT_OUTDATED
from speakers.enrollment import withdraw_voice
from speakers.models import ReferenceClip, Speaker, speaker_folder
from synthesis.models import Comparison, Draft, Job, Line, Variant, job_folder
from voicereel_site.errors import FieldError, Refusal


def request_speaker_erasure(caller: Caller, speaker: Speaker, confirmed: str) -> Erasure:
    """Withdraw a voice at once and ask for its erasure. In a transaction. Raises validation_error.

    confirmed: the speaker's name, as whoever asks has typed it.
    """
    if confirmed != speaker.name:
        detail = _(
            "Erasing cannot be undone, and takes every job with this voice. To confirm, send the "
            "speaker's name: %(name)s."
        ) % {"name": speaker.name}
        raise Refusal("validation_error", detail, errors=[FieldError("/confirm", detail)])
    row = Erasure.objects.create(
        tenant_id=speaker.tenant_id, speaker_id=speaker.pk, requested_by=caller.pk
    )
    audit.record(speaker.tenant_id, "erasure.requested", row.pk, speaker_id=speaker.pk)
    withdraw_voice(speaker)
    ask_for_task(ERASE_SPEAKER, row)
    return row


def erase_speaker(erasure_id: str) -> None:
    """Erase what is left of a speaker, as an operator. The second time, a while later, it is proved."""
    rows = Erasure.objects.filter(pk=erasure_id).exclude(status=Erasure.Status.ERASED)
    rows.filter(status=Erasure.Status.REQUESTED).update(status=Erasure.Status.ERASING)
    erasure = rows.first()
    if erasure is None:
        return
    tenant_id, speaker_id = erasure.tenant_id, erasure.speaker_id
    lines = Line.objects.for_tenant(tenant_id).with_voice_of(speaker_id)
    # A comparison without one of its voices compares nothing: what was rendered for it goes as well.
    variants = Variant.objects.for_tenant(tenant_id).filter(
        comparison__in=_comparisons_with(tenant_id, speaker_id)
    )
    jobs = sorted(
        {
            *lines.values_list("job_id", flat=True),
            *variants.values_list("job_id", flat=True),
        }
    )
    with transaction.atomic():
        # Their files are looked for again the second time, when no row names them any more.
        note_erased(erasure, _erase_rows(tenant_id, speaker_id, jobs), {*erasure.pending, *jobs})
        # Archives hold the voice too, and those in the making.
        exports = DataExport.objects.for_tenant(tenant_id)
        drop_archives(exports)
        exports.filter(status=DataExport.Status.PROCESSING).update(
            status=DataExport.Status.FAILED,
            error_detail=EXPORT_OUTDATED,
            finished_at=timezone.now(),
        )
    folders = [speaker_folder(tenant_id, speaker_id)]
    folders += [job_folder(tenant_id, job_id) for job_id in erasure.pending]
    count_files(erasure, folders)
    delete_below(f"t/{tenant_id}/x", for_good=True)
    go_on(erasure, ERASE_SPEAKER)


def _erase_rows(tenant_id: str, speaker_id: str, jobs: list[str]) -> Counter[str]:
    """Delete the rows of a speaker and of jobs. Returns how many of each kind went.

    Usage events stay, which name the speaker by its id alone: they are what invoices rest on.
    """
    doomed: list[tuple[str, QuerySet]] = [
        ("comparison", _comparisons_with(tenant_id, speaker_id)),
        ("line", Line.objects.for_tenant(tenant_id).filter(job__in=jobs)),
        ("job", Job.objects.for_tenant(tenant_id).filter(pk__in=jobs)),
        ("reference_clip", ReferenceClip.objects.for_tenant(tenant_id).filter(speaker=speaker_id)),
        ("speaker", Speaker.objects.for_tenant(tenant_id).filter(pk=speaker_id)),
    ]
    for row_id in (speaker_id, *jobs):
        # What was answered and told of them.
        for kind, model in (
            ("idempotent_reply", IdempotentReply),
            ("webhook_delivery", WebhookDelivery),
        ):
            rows = model.objects.for_tenant(tenant_id).filter(body__contains=row_id)
            doomed.append((kind, rows))
    _forget_in_drafts(tenant_id, speaker_id)
    counts: Counter[str] = Counter()
    for kind, rows in doomed:
        counts[kind] += rows.delete()[0]
    return +counts


def _comparisons_with(tenant_id: str, speaker_id: str) -> QuerySet:
    compared = Variant.objects.for_tenant(tenant_id).filter(speaker=speaker_id)
    ids = list(compared.values_list("comparison_id", flat=True))
    return Comparison.objects.for_tenant(tenant_id).filter(pk__in=ids)


def _forget_in_drafts(tenant_id: str, speaker_id: str) -> None:
    """Leave what drafts have their speaker say, and nothing of who that was."""
    for draft in Draft.objects.for_tenant(tenant_id).select_for_update():
        if any(line["speaker_id"] == speaker_id for line in draft.lines):
            for line in draft.lines:
                if line["speaker_id"] == speaker_id:
                    line["speaker_id"] = line["name"] = ""
            draft.version += 1
            draft.save(update_fields=["lines", "version"])
