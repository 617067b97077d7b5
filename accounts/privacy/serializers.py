"""The shapes of exports and erasures in the API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import DataExport, Erasure
from accounts.privacy.erasures import proof_path
from accounts.privacy.exports import archive_link
from voicereel_site.shapes import EncodableText, StrictSerializer
from voicereel_site.stored_text import translated


class EraseAccountRequest(StrictSerializer):
    """POST /v1/erasures"""

    confirm = EncodableText(max_length=40, help_text="The account's id, ten_..., to confirm.")


class EraseSpeakerRequest(StrictSerializer):
    """POST /v1/speakers/{id}/erase"""

    confirm = EncodableText(max_length=100, help_text="The speaker's name, to confirm.")


class ArchiveFile(serializers.Serializer):
    """A ZIP file behind a link that lives 15 minutes and needs no key."""

    url = serializers.SerializerMethodField()
    size_bytes = serializers.IntegerField(source="archive_bytes")
    sha256 = serializers.CharField(source="archive_sha256")

    def get_url(self, row: DataExport) -> str:
        return archive_link(row, self.context["request"].build_absolute_uri)


class ExportResponse(serializers.Serializer):
    """An archive of everything of an account's."""

    id = serializers.CharField()
    status = serializers.ChoiceField(DataExport.Status.values)
    files_done = serializers.IntegerField()
    files_total = serializers.IntegerField(allow_null=True)
    rows_done = serializers.IntegerField()
    error = serializers.CharField(source="error_detail", allow_null=True)
    archive = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="until when the archive is kept"
    )

    def to_representation(self, row: DataExport) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(row)
        shown["error"] = translated(shown["error"]) or None
        return shown

    @extend_schema_field(ArchiveFile(allow_null=True))
    def get_archive(self, row: DataExport) -> dict[str, Any] | None:
        """Nothing that is not there is linked to."""
        if not row.archive_key:
            return None
        shown: dict[str, Any] = ArchiveFile(row, context=self.context).data
        return shown


class ExportPage(serializers.Serializer):
    data = ExportResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class ErasureResponse(serializers.Serializer):
    """What is being erased, or was: then it is the proof."""

    id = serializers.CharField()
    account_id = serializers.CharField(source="tenant_id")
    speaker_id = serializers.CharField(
        allow_null=True, help_text="who was erased; null: the whole account"
    )
    status = serializers.ChoiceField(Erasure.Status.values)
    requested_by = serializers.CharField(help_text="the id of a key, a member or an operator")
    requested_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    rows = serializers.DictField(
        child=serializers.IntegerField(), help_text="how many rows of each kind went"
    )
    files = serializers.IntegerField()
    bytes = serializers.IntegerField(help_text="of the files")
    log_lines = serializers.IntegerField()
    proof_url = serializers.CharField(
        help_text="shows this to whoever has it, without a key, for ever"
    )

    def to_representation(self, row: Erasure) -> dict[str, Any]:
        row.proof_url = self.context["request"].build_absolute_uri(proof_path(row))
        shown: dict[str, Any] = super().to_representation(row)
        shown["speaker_id"] = shown["speaker_id"] or None
        return shown


class ErasurePage(serializers.Serializer):
    data = ErasureResponse(many=True)
    next_cursor = serializers.CharField(allow_null=True)
