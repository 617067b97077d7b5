"""All settings, from one table read once from the environment.

With no variables set this is the embedded profile: SQLite, local disk under ``var/``, no Redis,
the CPU engine. ``DATABASE_URL``, ``REDIS_URL``, ``VOICEREEL_S3_BUCKET`` and the rest make it the
production profile. ``VOICEREEL_ENVIRONMENT`` says whether unsafe values are refused.
"""

import contextlib
import logging
import os
import secrets
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import environ
import orjson
import structlog
from boto3.s3.transfer import TransferConfig
from botocore.config import Config as S3ClientConfig
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from voicereel_site.environment import environment_of, read_environment, regions_of
from voicereel_site.log_context import complete_line
from voicereel_site.log_lines import LineLogger

BASE_DIR = Path(__file__).resolve().parent.parent

# name=(type, value when unset). What each is for: templates/docs/settings.md.
env = environ.Env(
    VOICEREEL_ENVIRONMENT=(str, ""),
    DATABASE_URL=(str, ""),
    REDIS_URL=(str, ""),
    VOICEREEL_REGION=(str, ""),
    VOICEREEL_REGIONS=(list, []),
    VOICEREEL_VAR=(str, str(BASE_DIR / "var")),
    VOICEREEL_SECRET_KEY=(str, ""),
    VOICEREEL_API_KEY_PEPPER=(str, ""),
    VOICEREEL_ENCRYPTION_KEYS=(list, []),
    VOICEREEL_ALLOWED_HOSTS=(list, ["127.0.0.1", "localhost", "[::1]"]),
    VOICEREEL_HTTPS=(bool, False),
    VOICEREEL_CONSOLE=(bool, False),
    VOICEREEL_MAIL_URL=(str, ""),
    VOICEREEL_MAIL_FROM=(str, "VoiceReel <noreply@localhost>"),
    VOICEREEL_LOG_FILE=(str, ""),
    VOICEREEL_TRUSTED_PROXIES=(int, 0),
    VOICEREEL_WEBHOOK_NETWORKS=(list, []),
    VOICEREEL_LOG_LEVEL=(str, "INFO"),
    VOICEREEL_ENGINE=(str, "kokoro"),
    VOICEREEL_ENGINE_THREADS=(int, os.cpu_count() or 1),
    KOKORO_MODEL_PATH=(str, ""),
    FISH_CHECKPOINT_DIR=(str, ""),
    FISH_DEVICE=(str, ""),
    VOICEREEL_RECOGNISER_MODEL=(str, ""),
    VOICEREEL_MOST_WAITING_LINES=(int, 100_000),
    VOICEREEL_METRICS_PORT=(int, 0),
    VOICEREEL_OTLP_ENDPOINT=(str, ""),
    VOICEREEL_SELLER_NAME=(str, "VoiceReel (seller not set)"),
    VOICEREEL_SELLER_ADDRESS=(str, ""),
    VOICEREEL_SELLER_COUNTRY=(str, "KR"),
    VOICEREEL_SELLER_TAX_ID=(str, ""),
    VOICEREEL_SELLER_REPRESENTATIVE=(str, ""),
    VOICEREEL_SELLER_BANK=(str, ""),
    VOICEREEL_STRIPE_KEY=(str, ""),
    VOICEREEL_STRIPE_WEBHOOK_SECRET=(str, ""),
    VOICEREEL_STRIPE_URL=(str, ""),
    VOICEREEL_S3_BUCKET=(str, ""),
    VOICEREEL_S3_ENDPOINT_URL=(str, ""),
    VOICEREEL_S3_REGION=(str, ""),
    VOICEREEL_S3_ADDRESSING_STYLE=(str, "auto"),
    VOICEREEL_S3_ENCRYPTION=(str, ""),
    VOICEREEL_S3_KMS_KEY_ID=(str, ""),
)
env.ENVIRON = read_environment(env.scheme)
# From 1.29 on onnxruntime tells its maker of each model that is loaded, and keeps what it could not send on disk. It
# looks here when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
ENVIRONMENT = environment_of(env)
REGION, REGIONS = regions_of(env)

VAR_DIR = Path(env("VOICEREEL_VAR")).resolve()
# Uploads being received and audio being encoded: in one place, which is swept.
SCRATCH_DIR = VAR_DIR / "scratch"
SCRATCH_DIR.mkdir(parents=True, exist_ok=True)


def _secret(name: str, filename: str) -> str:
    """The variable's value; in the embedded profile a random one made once and kept in var/."""
    if value := str(env.ENVIRON.get(name, "")):
        return value
    if env("DATABASE_URL"):
        raise ImproperlyConfigured(f"{name} must be set when DATABASE_URL is.")
    path = VAR_DIR / filename
    if not path.exists():
        # Processes start together: the file, which its owner alone may read, appears whole and once.
        with tempfile.NamedTemporaryFile("w", dir=VAR_DIR) as file:
            file.write(secrets.token_urlsafe(64))
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text()


SECRET_KEY = _secret("VOICEREEL_SECRET_KEY", "secret_key")
API_KEY_PEPPER = _secret("VOICEREEL_API_KEY_PEPPER", "api_key_pepper")
ENCRYPTION_KEYS = env("VOICEREEL_ENCRYPTION_KEYS") or [
    _secret("VOICEREEL_ENCRYPTION_KEYS", "encryption_key")
]

DEBUG = False
ALLOWED_HOSTS = env("VOICEREEL_ALLOWED_HOSTS")
WEBHOOK_NETWORKS = env("VOICEREEL_WEBHOOK_NETWORKS")
TRUSTED_PROXIES = env("VOICEREEL_TRUSTED_PROXIES")
if TRUSTED_PROXIES < 0:
    raise ImproperlyConfigured("VOICEREEL_TRUSTED_PROXIES is a number of proxies, 0 or more.")
ROOT_URLCONF = "voicereel_site.urls"
# Ours are all addresses of a host. Unset, Django looks for another beginning with each request.
FORCE_SCRIPT_NAME = ""
WSGI_APPLICATION = "voicereel_site.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ko", "한국어")]
LOCALE_PATHS = [BASE_DIR / "templates/locale"]
FORMAT_MODULE_PATH = "voicereel_site.formats"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The embedded profile has one web process, for everybody.
CONSOLE = env("VOICEREEL_CONSOLE") or not env("DATABASE_URL")
LOG_FILE = env("VOICEREEL_LOG_FILE")

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "unfold.apps.BasicAppConfig",  # the console is a site of our own
    "accounts.apps.ConsoleConfig",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "accounts",
    "speakers",
    "synthesis",
    "billing",
]

# What every request passes, and all that one with an API key does (voicereel_site.handlers).
_EVERY_REQUEST = [
    "voicereel_site.request_log.RequestLogMiddleware",
    "voicereel_site.http_metrics.HttpMetricsMiddleware",
    "voicereel_site.languages.LanguageMiddleware",
    "voicereel_site.errors.OutageMiddleware",
    "accounts.tenancy.TenantMiddleware",
    "accounts.traffic.TrafficMiddleware",
    "accounts.audit.AuditMiddleware",
    "accounts.limits.RateLimitMiddleware",
]
API_MIDDLEWARE = [*_EVERY_REQUEST, "voicereel_site.headers.ApiSecurityMiddleware"]
MIDDLEWARE = [
    *_EVERY_REQUEST,
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "voicereel_site.pages.PagePolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "voicereel_site.languages.PageLanguageMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.people.pages.around_every_page",
                "voicereel_site.pages.around_every_page",
            ],
            "libraries": {"shown": "voicereel_site.shown"},
            "builtins": [
                "django.templatetags.i18n",
                "django.templatetags.static",
                "voicereel_site.shown",
            ],
        },
    }
]


def _is_open(page: str, request: Any) -> bool:
    """Whether a page of the console, or one of its model's, is looked at."""
    open_one: str = request.resolver_match.url_name
    of_model = page.removesuffix("changelist")
    return open_one == page or (page != of_model and open_one.startswith(of_model))


UNFOLD = {
    "SITE_TITLE": _("VoiceReel operators"),
    "SITE_HEADER": _("VoiceReel operators"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("icon.svg")}
    ],
    "STYLES": [lambda request: static("console.css")],
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": title,
                "items": [
                    {
                        "title": name,
                        "link": reverse_lazy(f"admin:{page}"),
                        "active": partial(_is_open, page),
                    }
                    for name, page in pages
                ],
            }
            for title, pages in (
                (
                    _("Work"),
                    (
                        (_("Now"), "index"),
                        (_("Jobs"), "synthesis_job_changelist"),
                        (_("Workers"), "synthesis_worker_changelist"),
                        (_("Dead letters"), "accounts_outboxmessage_changelist"),
                        (_("Webhooks"), "accounts_webhookendpoint_changelist"),
                        (_("Deliveries"), "accounts_webhookdelivery_changelist"),
                    ),
                ),
                (
                    _("Customers"),
                    (
                        (_("Tenants"), "accounts_tenant_changelist"),
                        (_("Members"), "accounts_membership_changelist"),
                        (_("People"), "accounts_user_changelist"),
                        (_("Speakers"), "speakers_speaker_changelist"),
                    ),
                ),
                (
                    _("Money"),
                    (
                        (_("Monthly close"), "monthly-close"),
                        (_("Invoices"), "billing_invoice_changelist"),
                        (_("Accounts"), "billing_billingaccount_changelist"),
                        (_("Usage events"), "billing_usageevent_changelist"),
                        (_("Credits"), "billing_credit_changelist"),
                        (_("Credit notes"), "billing_creditnote_changelist"),
                        (_("Payments"), "billing_payment_changelist"),
                        (_("Deposits"), "billing_unmatcheddeposit_changelist"),
                        (_("Stripe"), "billing_stripemirror_changelist"),
                        (_("Prices"), "billing_price_changelist"),
                    ),
                ),
                (
                    _("On record"),
                    (
                        (_("Audit log"), "accounts_auditevent_changelist"),
                        (_("Impersonations"), "accounts_impersonation_changelist"),
                        (_("Exports"), "accounts_dataexport_changelist"),
                        (_("Erasures"), "accounts_erasure_changelist"),
                    ),
                ),
            )
        ],
    },
}
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "templates/static"]
# From where packages keep them: nobody has to collect files before a start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False

_file_hosts = []
if env("VOICEREEL_S3_BUCKET"):
    _file_hosts = [env("VOICEREEL_S3_ENDPOINT_URL").rstrip("/") or "https://*.amazonaws.com"]
# Our own pages: nothing inline, nothing from elsewhere.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # the QR code of a second factor
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        # what was recorded a moment ago; and an object store's files, to which our links lead
        "media-src": ["'self'", "blob:", *_file_hosts],
        "manifest-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

SECURE_SSL_REDIRECT = env("VOICEREEL_HTTPS")
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]  # whoever asks these asks this process itself
if env("VOICEREEL_HTTPS"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
# Forms carry it, and scripts read it from the page.
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "accounts.people.pages.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        # NIST SP 800-63B, 3.1.1.2: a password that is the only factor.
        ("MinimumLengthValidator", {"min_length": 12}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "accounts.people.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
# Codes, not links: nothing in a mail depends on the Host header of whoever asked for it, and it may be
# read on another device.
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
# Whether an address is known is said in mails to it alone.
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "VoiceReel: "
ACCOUNT_MAX_EMAIL_ADDRESSES = 2
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if env("VOICEREEL_HTTPS") else "http"
MFA_ADAPTER = "accounts.people.adapters.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "VoiceReel"

if env("DATABASE_URL") and not env("VOICEREEL_MAIL_URL"):
    raise ImproperlyConfigured(
        "VOICEREEL_MAIL_URL must be set when DATABASE_URL is: smtp+tls://user:password@host:587, or "
        "consolemail:// to have mail printed, with the codes in it."
    )
vars().update(env.email_url_config(env("VOICEREEL_MAIL_URL") or "consolemail://"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env("VOICEREEL_MAIL_FROM")

if env("DATABASE_URL"):
    DATABASES = {"default": env.db_url("DATABASE_URL")}
    DATABASES["default"]["ENGINE"] = "voicereel_site.postgresql"
    # A connection for each thread, for good: making one costs eight times what a request does.
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    _database_options = {
        # A server that is away is an error within seconds, and one that hangs within a minute.
        "connect_timeout": 3,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "options": "-c statement_timeout=60s -c lock_timeout=20s "
        "-c idle_in_transaction_session_timeout=60s",
    }
    # What the address says, such as sslmode, stands.
    DATABASES["default"]["OPTIONS"] = _database_options | DATABASES["default"].get("OPTIONS", {})
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": VAR_DIR / "voicereel.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # Writers queue for up to 20 s instead of failing; IMMEDIATE takes the write lock
                # at BEGIN, because a read that turns into a write cannot wait in SQLite.
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }

# Only the decoder's child process limits what a reference may hold; Django spools it to disk.
FILE_UPLOAD_HANDLERS = ["accounts.scratch.UploadHandler"]
FILE_UPLOAD_TEMP_DIR = str(SCRATCH_DIR)
# Bytes of a JSON body, and of the fields of a form. The longest script fits, escaped throughout
# (200,000 characters, 12 bytes each).
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100
DATA_UPLOAD_MAX_NUMBER_FILES = 20

if env("VOICEREEL_S3_BUCKET"):
    # Two parts of 8 MB under way: an hour of WAV (317 MB) takes no more memory than a minute.
    _transfer = TransferConfig(max_concurrency=2, max_io_queue=4)
    # boto3 passes this on and has no argument for it; by default ten parts wait in memory.
    _transfer.max_in_memory_upload_chunks = 2
    _s3_object = {}
    if env("VOICEREEL_S3_ENCRYPTION"):
        _s3_object["ServerSideEncryption"] = env("VOICEREEL_S3_ENCRYPTION")
    if env("VOICEREEL_S3_KMS_KEY_ID"):
        _s3_object["SSEKMSKeyId"] = env("VOICEREEL_S3_KMS_KEY_ID")
    _audio_storage = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": env("VOICEREEL_S3_BUCKET"),
            "endpoint_url": env("VOICEREEL_S3_ENDPOINT_URL") or None,
            "region_name": env("VOICEREEL_S3_REGION") or None,
            "default_acl": None,
            "file_overwrite": True,
            "object_parameters": _s3_object,
            "client_config": S3ClientConfig(
                signature_version="s3v4",
                s3={"addressing_style": env("VOICEREEL_S3_ADDRESSING_STYLE")},
                connect_timeout=3,
                read_timeout=20,
                retries={"mode": "standard", "total_max_attempts": 3},
                # Newer boto3 adds checksums that other S3 servers than AWS do not all know.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
            "transfer_config": _transfer,
        },
    }
else:
    _audio_storage = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": VAR_DIR / "audio", "allow_overwrite": True},
    }
STORAGES = {
    "default": _audio_storage,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
LINK_TTL_S = 15 * 60

SELLER = {
    name.lower(): env(f"VOICEREEL_SELLER_{name}")
    for name in ("NAME", "ADDRESS", "COUNTRY", "TAX_ID", "REPRESENTATIVE", "BANK")
}
STRIPE_KEY = env("VOICEREEL_STRIPE_KEY")
STRIPE_WEBHOOK_SECRET = env("VOICEREEL_STRIPE_WEBHOOK_SECRET")
STRIPE_URL = env("VOICEREEL_STRIPE_URL")
if STRIPE_KEY and not STRIPE_WEBHOOK_SECRET:
    raise ImproperlyConfigured(
        "VOICEREEL_STRIPE_KEY needs VOICEREEL_STRIPE_WEBHOOK_SECRET: without it nobody can tell Stripe's "
        "events from other people's."
    )

ENGINE = env("VOICEREEL_ENGINE")
ENGINE_THREADS = env("VOICEREEL_ENGINE_THREADS")
KOKORO_MODEL_PATH = env("KOKORO_MODEL_PATH")
FISH_CHECKPOINT_DIR = env("FISH_CHECKPOINT_DIR")
FISH_DEVICE = env("FISH_DEVICE")
RECOGNISER_MODEL = env("VOICEREEL_RECOGNISER_MODEL")
METRICS_PORT = env("VOICEREEL_METRICS_PORT")
OTLP_ENDPOINT = env("VOICEREEL_OTLP_ENDPOINT")
# Seconds; of django-prometheus, whose own are seventeen.
PROMETHEUS_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, float("inf"))
MOST_WAITING_LINES = env("VOICEREEL_MOST_WAITING_LINES")
if ENGINE == "fish" and not FISH_CHECKPOINT_DIR:
    raise ImproperlyConfigured(
        "VOICEREEL_ENGINE=fish needs FISH_CHECKPOINT_DIR: the folder with the weights of fish-speech "
        "1.5. `manage.py fish_fetch FOLDER` says how to get them."
    )
# What needs the engine; a GPU's worker takes nothing else but "voices". Jobs have queues of their own,
# whose lengths tell the dispatcher whether workers want more.
ENGINE_QUEUE = "gpu" if ENGINE == "fish" else "render"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiKeyAuthentication",
        "accounts.authentication.MemberAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["voicereel_site.shapes.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["voicereel_site.shapes.BoundedJsonParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "voicereel_site.errors.AlwaysJson",
    "DEFAULT_SCHEMA_CLASS": "voicereel_site.openapi.ProblemAwareSchema",
    "EXCEPTION_HANDLER": "voicereel_site.errors.problem_from_exception",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "VoiceReel API",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVERS": [{"url": "/", "description": "Where this document came from"}],
    "TAGS": [
        {"name": "speakers", "description": "Voices: registered once, spoken with ever after."},
        {"name": "synthesize", "description": "From a script to a job."},
        {"name": "jobs", "description": "How far a script is, and its files."},
        {
            "name": "comparisons",
            "description": "Which voice listeners prefer, not knowing which is which.",
        },
        {"name": "pronunciations", "description": "How words of yours are spoken."},
        {"name": "webhook-endpoints", "description": "Addresses of yours that are told of events."},
        {"name": "webhook-deliveries", "description": "What was told, and whether it arrived."},
        {"name": "keys", "description": "Who may use the API in your name, and for what."},
        {"name": "members", "description": "The people of your account, and their roles."},
        {"name": "invitations", "description": "People who may join."},
        {"name": "audit-events", "description": "Who did what, and from where."},
        {"name": "usage", "description": "What you used, exact to the millisecond."},
        {"name": "sla", "description": "How well we kept what we promise."},
        {"name": "invoices", "description": "What it costs, month by month."},
        {"name": "billing", "description": "Who pays, how, and how much at most."},
        {"name": "exports", "description": "Everything of yours in one archive."},
        {"name": "erasures", "description": "What was erased for good, with the proof."},
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    # Sessions are our own pages'; whoever reads the document has a key.
    "AUTHENTICATION_WHITELIST": ["accounts.authentication.ApiKeyAuthentication"],
    "COMPONENT_SPLIT_PATCH": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "voicereel_site.openapi.complete_document",
    ],
    "ENUM_NAME_OVERRIDES": {
        "JobStatus": "synthesis.models.Job.Status",
        "SpeakerStatus": "speakers.models.Speaker.Status",
        "WebhookDeliveryStatus": "accounts.models.WebhookDelivery.Status",
        "ComparisonStatus": "synthesis.models.Comparison.Status",
        "ExportStatus": "accounts.models.DataExport.Status",
        "ErasureStatus": "accounts.models.Erasure.Status",
        "Role": "accounts.scopes.Role",
        "InvoiceStatus": "billing.models.Invoice.Status",
        "ServiceCreditStatus": "billing.models.ServiceCredit.Status",
        "Standing": "billing.models.BillingAccount.Standing",
        "PaysBy": "billing.models.BillingAccount.PaysBy",
        "Currency": "billing.money.Currency",
        "Plan": "accounts.plans.Plan",
    },
}

REDIS_URL = env("REDIS_URL")
# What counts attempts to log in, over all web processes. No tenant's data is in it.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "voicereel",
        "OPTIONS": {"socket_timeout": 3, "socket_connect_timeout": 2},
    }
    if REDIS_URL
    else {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": VAR_DIR / "cache",
    }
}
CELERY = {
    "broker_url": REDIS_URL or "filesystem://",
    "task_default_queue": "default",
    "task_routes": {
        "synthesis.render_job": {"queue": ENGINE_QUEUE},
        "synthesis.render_test_job": {"queue": "test-jobs"},
        "synthesis.prepare_speaker": {"queue": "voices" if ENGINE == "fish" else "default"},
        # What waits for other people's servers.
        "accounts.deliver_webhook": {"queue": "webhooks"},
        # What looks at all tenants' rows: its worker has the operators' role.
        **{
            task: {"queue": "operations"}
            for task in (
                "accounts.erase_tenant",
                "accounts.forget_deliveries",
                "accounts.forget_exports",
                "accounts.forget_sessions",
                "accounts.forget_traffic",
                "accounts.forget_nonces",
                "synthesis.forget_workers",
                "accounts.forget_replies",
                "accounts.sweep_deliveries",
                "accounts.sweep_erasures",
                "accounts.sweep_exports",
                "billing.apply_plans",
                "billing.charge_invoice",
                "billing.close_month",
                "billing.count_usage",
                "billing.draft_last_month",
                "billing.mirror",
                "billing.remind",
                "billing.send_invoice",
                "billing.sweep_stripe",
                "billing.watch_spending",
                "speakers.sweep_speakers",
                "synthesis.erase_expired_jobs",
                "synthesis.erase_speaker",
                "synthesis.measure_storage",
                "synthesis.reconcile_storage",
                "synthesis.sweep_jobs",
                "synthesis.wake_next_suspect",
            )
        },
    },
    # Messages are nudges and rows are the truth (synthesis.tasks): what follows makes recovery
    # quick; that nothing is lost does not depend on it.
    #
    # Nobody waits for a result, and storing them would write to Redis for nothing.
    "task_ignore_result": True,
    # A message is acknowledged when its work is done. Acknowledged early, it is lost with its worker
    # (measured: kill -9 of the worker or of a pool child, 0 of 1 completed).
    "task_acks_late": True,
    # With a prefork pool a killed child's message would count as done in spite of acks_late
    # (measured); with this it came back in 3.2 s.
    "task_reject_on_worker_lost": True,
    # A worker holds no messages that another could be working on.
    "worker_prefetch_multiplier": 1,
    # On SIGQUIT a worker goes on for so long before it gives its messages back (measured: a 3 s
    # task was finished and not run twice). SIGTERM waits for all of them.
    "worker_soft_shutdown_timeout": 10.0,
    # A worker outlives any outage of its broker, before its first connection and after.
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # Work in hand goes on without the broker: its lease is in the database.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_timeout": 3,
    "worker_hijack_root_logger": False,
    # Sweeps that nobody took up in time are not worth taking up: the next one is there.
    "beat_schedule": {
        name: {"task": task, "schedule": every_s, "options": {"expires": every_s}}
        for name, task, every_s in (
            ("sweep-jobs", "synthesis.sweep_jobs", 10.0),
            ("sweep-speakers", "speakers.sweep_speakers", 30.0),
            ("erase-expired-jobs", "synthesis.erase_expired_jobs", 60.0),
            ("forget-replies", "accounts.forget_replies", 3600.0),
            ("forget-nonces", "accounts.forget_nonces", 600.0),
            ("forget-traffic", "accounts.forget_traffic", 3600.0),
            ("forget-workers", "synthesis.forget_workers", 3600.0),
            ("sweep-deliveries", "accounts.sweep_deliveries", 30.0),
            ("forget-deliveries", "accounts.forget_deliveries", 3600.0),
            ("forget-exports", "accounts.forget_exports", 3600.0),
            ("forget-sessions", "accounts.forget_sessions", 24 * 3600.0),
            ("sweep-erasures", "accounts.sweep_erasures", 60.0),
            ("sweep-exports", "accounts.sweep_exports", 60.0),
            ("sweep-scratch", "accounts.sweep_scratch", 3600.0),
            ("reconcile-storage", "synthesis.reconcile_storage", 24 * 3600.0),
            ("measure-storage", "synthesis.measure_storage", 3600.0),
            ("count-usage", "billing.count_usage", 60.0),
            ("watch-spending", "billing.watch_spending", 30.0),
            ("apply-plans", "billing.apply_plans", 60.0),
            ("draft-last-month", "billing.draft_last_month", 3600.0),
            ("close-month", "billing.close_month", 3600.0),
            ("remind", "billing.remind", 6 * 3600.0),
            ("sweep-stripe", "billing.sweep_stripe", 5.0),
        )
    },
    "beat_schedule_filename": str(VAR_DIR / "celerybeat-schedule"),
}
if REDIS_URL:
    CELERY["broker_transport"] = "voicereel_site.brokers:RedisTransport"
    CELERY["broker_transport_options"] = {
        # After this kombu gives a message that nobody acknowledged to another worker. A render may
        # take longer; the second worker finds the job leased and lets go.
        "visibility_timeout": 3600,
        # kombu looks for such messages every interval x throttle seconds: by default 100 s, which
        # delayed recovery by that long (measured: 103.9 s, and 13.7 s with 1 x 1 s).
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # A Redis that hangs is an error to a publisher within seconds. Longer than the blocking
        # reads of a worker, which end each second.
        "socket_connect_timeout": 2,
        "socket_timeout": 3,
        # Nor does a publisher try for long to connect, by default 6 s: the outbox tries again.
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.1,
    }
else:
    _queue_dir = VAR_DIR / "queue"
    for _name in ("messages", "control"):
        (_queue_dir / _name).mkdir(parents=True, exist_ok=True)
    CELERY["broker_transport"] = "voicereel_site.brokers:FileTransport"
    CELERY["broker_transport_options"] = {
        "data_folder_in": str(_queue_dir / "messages"),
        "data_folder_out": str(_queue_dir / "messages"),
        "control_folder": str(_queue_dir / "control"),
        "polling_interval": 0.1,  # seconds
    }
    # One worker on one machine: nothing listens to worker events or remote control.
    CELERY["worker_enable_remote_control"] = False


def _as_json(event: Any, default: Callable[[Any], Any], **_: Any) -> str:
    return orjson.dumps(event, default).decode()


_renderers: list[structlog.typing.Processor] = [
    # Without the variables of each frame: keys, scripts and addresses are among them.
    structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    ),
    structlog.processors.JSONRenderer(_as_json),
]
structlog.configure(
    processors=[complete_line, *_renderers],
    wrapper_class=structlog.make_filtering_bound_logger(env("VOICEREEL_LOG_LEVEL").upper()),
    logger_factory=LineLogger,
    cache_logger_on_first_use=True,
)
# No line says from which line of code it comes, nor from which thread, and finding out takes as long as
# writing it (as the documentation of logging has it, under "Optimization").
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
# Libraries' warnings too are lines of the log.
logging.captureWarnings(True)
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": [complete_line],
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers,
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": env("VOICEREEL_LOG_LEVEL")},
    "loggers": {
        # Our own line per request replaces these; they would log paths, which hold links.
        "django.request": {"level": "CRITICAL"},
        "django.server": {"level": "CRITICAL"},
        # "Task received/succeeded" lines say nothing that the job's own lines do not.
        "celery": {"level": "WARNING"},
    },
}
if LOG_FILE:
    LOGGING["handlers"]["file"] = {
        "class": "accounts.log_file.ErasableLog",
        "filename": LOG_FILE,
        "formatter": "json",
    }
    LOGGING["root"]["handlers"].append("file")
