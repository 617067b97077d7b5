"""A tenant's pronunciation dictionary: plain respellings by language, which every engine can use."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import Tenant
from accounts.prepared import prepared
from synthesis.models import Pronunciation
from voicereel_site.errors import FieldError, Refusal, summed_up


def replace_pronunciations(
    tenant: Tenant, entries: Sequence[Mapping[str, str]]
) -> list[Pronunciation]:
    """Make these entries the whole dictionary, or change nothing. Returns it in its order.

    entries: what ReplacePronunciationsRequest validated. Raises validation_error if two of one
    language are written alike.
    """
    _refuse_clashes(entries)
    rows = [
        Pronunciation(tenant=tenant, written_folded=_folded(entry["written"]), **entry)
        for entry in entries
    ]
    with transaction.atomic():
        # Holding the tenant's row keeps two dictionaries from mixing; NO KEY, because whatever is
        # stored for the tenant meanwhile refers to its key and should not wait.
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        Pronunciation.objects.for_tenant(tenant).delete()
        Pronunciation.objects.bulk_create(rows)
    return _in_order(rows)


def list_pronunciations(tenant: Tenant) -> list[Pronunciation]:
    """The tenant's dictionary, by language and then as a dictionary is ordered, ignoring case."""
    return _in_order(Pronunciation.objects.for_tenant(tenant))


def pronunciations_of(tenant: Tenant, language: str) -> dict[str, str]:
    """What a tenant has spoken for what is written, in a language; its region does not matter.

    No two keys are alike ignoring case.
    """
    base = language.split("-")[0].lower()
    return dict(_respellings(tenant.pk, base))


@prepared
def _respellings(tenant_id: str, base: str) -> QuerySet:
    rows = Pronunciation.objects.for_tenant(tenant_id).filter(language=base)
    return rows.values_list("written", "spoken")


def _refuse_clashes(entries: Sequence[Mapping[str, str]]) -> None:
    errors = []
    seen: dict[tuple[str, str], str] = {}
    for index, entry in enumerate(entries):
        key = entry["language"], _folded(entry["written"])
        if key in seen:
            detail = _(
                "There is an entry for %(written)s in %(language)s already; upper and lower case count "
                "as the same. Keep one of the two."
            ) % {"written": seen[key], "language": entry["language"]}
            errors.append(FieldError(f"/entries/{index}/written", detail))
        else:
            seen[key] = entry["written"]
    if errors:
        raise Refusal("validation_error", summed_up(errors), errors=errors)


def _folded(written: str) -> str:
    # Databases lower-case by their locale, or ASCII alone; this is the same everywhere.
    return unicodedata.normalize("NFC", written.casefold())


def _in_order(rows: Iterable[Pronunciation]) -> list[Pronunciation]:
    # Here, because each database has a collation of its own.
    return sorted(rows, key=lambda row: (row.language, row.written_folded))
