"""Every public route of the API, version 1."""

from django.urls import path

from accounts.api import AuditEventListView, KeyListView, KeyView, RevokeKeyView, RotateKeyView
from accounts.people.api import (
    InvitationListView,
    InvitationView,
    MemberListView,
    MemberView,
)
from accounts.privacy.api import (
    ErasureListView,
    ErasureProofView,
    ErasureView,
    ExportListView,
    ExportView,
    download_archive,
)
from accounts.webhooks.api import (
    ReplayWebhookDeliveryView,
    RotateWebhookSecretView,
    WebhookDeliveryListView,
    WebhookEndpointListView,
    WebhookEndpointView,
)
from billing.api import (
    BillingView,
    CardView,
    InvoiceEventsView,
    InvoiceListView,
    InvoicePdfView,
    InvoiceView,
    PortalView,
    ReportCsvView,
    ReportPdfView,
    ReportView,
    ServiceLevelView,
    UsageView,
)
from speakers.api import SpeakerListView, SpeakerView
from synthesis.api import (
    CancelJobView,
    EraseSpeakerView,
    JobListView,
    JobView,
    PronunciationsView,
    RetryJobView,
    SynthesizeView,
)
from synthesis.comparison.api import (
    CloseComparisonView,
    ComparisonListView,
    ComparisonView,
    WinnerView,
)
from synthesis.downloads import download_file
from voicereel_site.reference import OpenApiView

urlpatterns = [
    # Django tries them in turn: what is asked for most comes first.
    path("jobs/<str:job_id>", JobView.as_view()),
    path("synthesize", SynthesizeView.as_view()),
    path("speakers", SpeakerListView.as_view()),
    path("openapi.json", OpenApiView.as_view()),
    path("speakers/<str:speaker_id>", SpeakerView.as_view()),
    path("speakers/<str:speaker_id>/erase", EraseSpeakerView.as_view()),
    path("jobs", JobListView.as_view()),
    path("jobs/<str:job_id>/cancel", CancelJobView.as_view()),
    path("jobs/<str:job_id>/retry", RetryJobView.as_view()),
    path("comparisons", ComparisonListView.as_view()),
    path("comparisons/<str:comparison_id>", ComparisonView.as_view()),
    path("comparisons/<str:comparison_id>/close", CloseComparisonView.as_view()),
    path("comparisons/<str:comparison_id>/winner", WinnerView.as_view()),
    path("pronunciations", PronunciationsView.as_view()),
    path("keys", KeyListView.as_view()),
    path("keys/<str:key_id>", KeyView.as_view()),
    path("keys/<str:key_id>/rotate", RotateKeyView.as_view()),
    path("keys/<str:key_id>/revoke", RevokeKeyView.as_view()),
    path("webhook-endpoints", WebhookEndpointListView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>", WebhookEndpointView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/rotate", RotateWebhookSecretView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/deliveries", WebhookDeliveryListView.as_view()),
    path("webhook-deliveries/<str:delivery_id>/replay", ReplayWebhookDeliveryView.as_view()),
    path("members", MemberListView.as_view()),
    path("members/<str:member_id>", MemberView.as_view()),
    path("invitations", InvitationListView.as_view()),
    path("invitations/<str:invitation_id>", InvitationView.as_view()),
    path("audit-events", AuditEventListView.as_view()),
    path("usage", UsageView.as_view()),
    path("usage/reports/<str:month>", ReportView.as_view()),
    path("usage/reports/<str:month>/csv", ReportCsvView.as_view()),
    path("usage/reports/<str:month>/pdf", ReportPdfView.as_view()),
    path("sla", ServiceLevelView.as_view()),
    path("invoices", InvoiceListView.as_view()),
    path("invoices/<str:invoice_id>", InvoiceView.as_view()),
    path("invoices/<str:invoice_id>/pdf", InvoicePdfView.as_view()),
    path("invoices/<str:invoice_id>/events", InvoiceEventsView.as_view()),
    path("billing", BillingView.as_view()),
    path("billing/card", CardView.as_view()),
    path("billing/portal", PortalView.as_view()),
    path("exports", ExportListView.as_view()),
    path("exports/<str:export_id>", ExportView.as_view()),
    path("erasures", ErasureListView.as_view()),
    path("erasures/<str:erasure_id>", ErasureView.as_view()),
    path("archives/<str:token>/<str:filename>", download_archive, name="export-archive"),
    path("erasure-proofs/<str:token>", ErasureProofView.as_view(), name="erasure-proof"),
    path("files/<str:token>/<str:filename>", download_file, name="file"),
]
