"""Speakers in the operators' console: whose consent there is, and how their recordings did. What people
call them, and how they sound, is not shown.
"""

from django.contrib import admin
from django.utils.translation import gettext_lazy

from accounts.console import RowsToLookAt
from speakers.models import Speaker


@admin.register(Speaker)
class SpeakerAdmin(RowsToLookAt):
    list_display = [
        "id",
        "tenant",
        "status",
        "language",
        "consent_at",
        "consent_version",
        "deleted_at",
    ]
    list_select_related = ["tenant"]
    list_filter = ["status", ("deleted_at", admin.EmptyFieldListFilter)]
    ids = {"ten": "tenant"}
    search_fields = ["id__exact"]
    search_help_text = gettext_lazy("A speaker's id, or a tenant's")
    fields = [
        "id",
        "tenant",
        "status",
        "language",
        "reference_ms",
        "quality",
        "failure_reasons",
        "voice_engine",
        "voice_mode",
        "voice_similarity",
        "consent_at",
        "consent_key_id",
        "consent_version",
        "created_at",
        "deleted_at",
    ]
