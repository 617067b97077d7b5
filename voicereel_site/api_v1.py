"""Every public route of the API, version 1."""

from django.urls import path

from accounts.api import KeyListView, KeyView, RevokeKeyView, RotateKeyView
from accounts.webhooks.api import (
    ReplayWebhookDeliveryView,
    RotateWebhookSecretView,
    WebhookDeliveryListView,
    WebhookEndpointListView,
    WebhookEndpointView,
)
from speakers.api import SpeakerListView, SpeakerView
from synthesis.api import (
    CancelJobView,
    JobListView,
    JobView,
    PronunciationsView,
    RetryJobView,
    SynthesizeView,
    download_file,
)
from voicereel_site.reference import OpenApiView

urlpatterns = [
    path("openapi.json", OpenApiView.as_view()),
    path("speakers", SpeakerListView.as_view()),
    path("speakers/<str:speaker_id>", SpeakerView.as_view()),
    path("synthesize", SynthesizeView.as_view()),
    path("jobs", JobListView.as_view()),
    path("jobs/<str:job_id>", JobView.as_view()),
    path("jobs/<str:job_id>/cancel", CancelJobView.as_view()),
    path("jobs/<str:job_id>/retry", RetryJobView.as_view()),
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
    path("files/<str:token>/<str:filename>", download_file, name="file"),
]
