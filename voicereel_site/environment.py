"""The variables that settings are made of: from the environment or from files, and whether they are safe."""

import ipaddress
import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

ENVIRONMENTS = ("development", "test", "staging", "production")
# The client package has variables of its own, which may be set in the same shell.
_OF_THE_CLIENT = {"VOICEREEL_API_KEY", "VOICEREEL_SIGNING_SECRET", "VOICEREEL_URL"}
# As long as what `secrets.token_hex(16)` gives: 128 bits.
_SHORTEST_SECRET = 32
_FEWEST_DIFFERENT_CHARACTERS = 10
_LONGEST_FILE = 64 * 1024
_REGION = re.compile("[a-z]{2}")


def read_environment(names: Collection[str]) -> dict[str, str]:
    """The process's variables; those called NAME_FILE are read from the file that they name, without the
    end of its last line, as orchestrators hand over secrets.

    Raises ImproperlyConfigured for a VOICEREEL_ variable that is none of names, a misspelt one perhaps, for
    a variable that is given both ways, and for a file that cannot be read.
    """
    values = dict(os.environ)
    for name in names:
        path = os.environ.get(f"{name}_FILE")
        # VOICEREEL_LOG_FILE is a setting itself.
        if path is None or f"{name}_FILE" in names:
            continue
        if name in values:
            raise ImproperlyConfigured(f"{name} and {name}_FILE are both set; one is enough.")
        try:
            with Path(path).open() as file:
                values[name] = file.read(_LONGEST_FILE).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
            raise ImproperlyConfigured(
                f"{name}_FILE names {path}, which cannot be read: {reason}."
            ) from exc
    known = {*names, *(f"{name}_FILE" for name in names), *_OF_THE_CLIENT}
    unknown = sorted(name for name in values if name.startswith("VOICEREEL_") and name not in known)
    if unknown:
        raise ImproperlyConfigured(
            f"Unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(names))}."
        )
    return values


def environment_of(env: environ.Env) -> str:
    """Which of ENVIRONMENTS this is. Staging and production refuse values that are unsafe there.

    Raises ImproperlyConfigured, with all of them in one line.
    """
    environment: str = env("VOICEREEL_ENVIRONMENT")
    if not environment and env("DATABASE_URL"):
        raise ImproperlyConfigured(
            "VOICEREEL_ENVIRONMENT must be set when DATABASE_URL is: production or staging, which refuse "
            "unsafe values, or development or test, which do not."
        )
    environment = environment or "development"
    if environment not in ENVIRONMENTS:
        raise ImproperlyConfigured(
            f"VOICEREEL_ENVIRONMENT is one of {', '.join(ENVIRONMENTS)}, not {environment!r}."
        )
    if environment in ("staging", "production") and (unsafe := unsafe_values(env, environment)):
        raise ImproperlyConfigured(f"Unsafe in {environment}: {' '.join(unsafe)}")
    return environment


def regions_of(env: environ.Env) -> tuple[str, dict[str, str]]:
    """The name of this region, "" for the only one, and the address of the API in each by its name.

    Raises ImproperlyConfigured.
    """
    region: str = env("VOICEREEL_REGION")
    addresses = {}
    for entry in env("VOICEREEL_REGIONS"):
        name, _, addresses[name] = entry.partition("=")
    for name in filter(None, (region, *addresses)):
        if _REGION.fullmatch(name) is None:
            raise ImproperlyConfigured(
                f"A region's name is two small letters, such as kr or eu, not {name!r}: "
                "VOICEREEL_REGION, VOICEREEL_REGIONS."
            )
    for name, address in addresses.items():
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ImproperlyConfigured(
                f"VOICEREEL_REGIONS has no address for {name}: write {name}=https://{name}.example.com."
            )
    if addresses and region not in addresses:
        raise ImproperlyConfigured(
            "VOICEREEL_REGIONS lists all regions with this one, which VOICEREEL_REGION names."
        )
    return region, addresses


def unsafe_values(env: environ.Env, environment: str) -> list[str]:
    """What must not stay as it is in staging or production, a sentence each. Values are not repeated."""
    return [
        sentence
        for check in (_servers, _secrets, _web, _mail, _engine, _webhooks, _money, _log)
        for sentence in check(env, environment)
    ]


def _servers(env: environ.Env, environment: str) -> list[str]:
    found = []
    if not env("DATABASE_URL").startswith(("postgres://", "postgresql://")):
        found.append("DATABASE_URL must name a PostgreSQL.")
    if not env("REDIS_URL").startswith(("redis://", "rediss://")):
        found.append("REDIS_URL must name a Redis.")
    if not env("VOICEREEL_S3_BUCKET"):
        found.append(
            "VOICEREEL_S3_BUCKET must be set: files on one machine's disk are lost with it."
        )
    endpoint = urlsplit(env("VOICEREEL_S3_ENDPOINT_URL"))
    if endpoint.scheme == "http" and not _is_loopback(endpoint.hostname or ""):
        found.append("VOICEREEL_S3_ENDPOINT_URL must be https: voices would travel in the clear.")
    return found


def _secrets(env: environ.Env, environment: str) -> list[str]:
    names = ("VOICEREEL_SECRET_KEY", "VOICEREEL_API_KEY_PEPPER", "VOICEREEL_ENCRYPTION_KEYS")
    found, seen = [], set[str]()
    for name in names:
        value = env(name)
        values = value if isinstance(value, list) else [value]
        if not values or not all(map(_is_random, values)):
            found.append(
                f"{name} must be {_SHORTEST_SECRET} random characters or more: "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'."
            )
        elif seen.intersection(values):
            found.append(f"{name} must not be the same as another secret.")
        seen.update(values)
    return found


def _is_random(secret: str) -> bool:
    return len(secret) >= _SHORTEST_SECRET and len(set(secret)) >= _FEWEST_DIFFERENT_CHARACTERS


def _web(env: environ.Env, environment: str) -> list[str]:
    found = []
    if not env("VOICEREEL_HTTPS"):
        found.append("VOICEREEL_HTTPS must be true: keys and sessions would travel in the clear.")
    if env("VOICEREEL_TRUSTED_PROXIES") < 1:
        found.append(
            "VOICEREEL_TRUSTED_PROXIES must be 1 or more: with 0 all callers have the proxy's address."
        )
    hosts = env("VOICEREEL_ALLOWED_HOSTS")
    if "*" in hosts or all(map(_is_loopback, hosts)):
        found.append("VOICEREEL_ALLOWED_HOSTS must list the names of this service, and not *.")
    return found


def _mail(env: environ.Env, environment: str) -> list[str]:
    found = []
    url = urlsplit(env("VOICEREEL_MAIL_URL"))
    if url.scheme not in ("smtp+tls", "smtp+ssl", "smtps") and not (
        url.scheme in ("smtp", "submission") and _is_loopback(url.hostname or "")
    ):
        found.append("VOICEREEL_MAIL_URL must be smtp+tls:// or smtp+ssl://: mails hold codes.")
    if "@localhost" in env("VOICEREEL_MAIL_FROM"):
        found.append("VOICEREEL_MAIL_FROM must be an address that can be answered.")
    return found


def _engine(env: environ.Env, environment: str) -> list[str]:
    if env("VOICEREEL_ENGINE") == "tone":
        return ["VOICEREEL_ENGINE must not be tone: customers would pay for tones."]
    return []


def _webhooks(env: environ.Env, environment: str) -> list[str]:
    for network in env("VOICEREEL_WEBHOOK_NETWORKS"):
        parsed = ipaddress.ip_network(network, strict=False)
        if parsed.is_loopback or parsed.is_link_local or parsed.prefixlen == 0:
            return [
                "VOICEREEL_WEBHOOK_NETWORKS must not hold this machine or its neighbours: customers' "
                "webhooks would reach our own servers."
            ]
    return []


def _money(env: environ.Env, environment: str) -> list[str]:
    found = []
    key = env("VOICEREEL_STRIPE_KEY")
    if environment == "production" and "_test_" in key:
        found.append("VOICEREEL_STRIPE_KEY must be a live key: with a test key nobody pays.")
    if environment == "staging" and "_live_" in key:
        found.append("VOICEREEL_STRIPE_KEY must be a test key: staging must charge nobody.")
    if env("VOICEREEL_STRIPE_URL"):
        found.append("VOICEREEL_STRIPE_URL must not be set: cards are Stripe's business alone.")
    if "not set" in env("VOICEREEL_SELLER_NAME"):
        found.append("VOICEREEL_SELLER_NAME must be who sends the invoices.")
    return found


def _log(env: environ.Env, environment: str) -> list[str]:
    if env("VOICEREEL_LOG_LEVEL").upper() == "DEBUG":
        return ["VOICEREEL_LOG_LEVEL must not be DEBUG: libraries log what they send."]
    return []


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
