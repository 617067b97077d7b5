"""Where a webhook may go: to public addresses, and to no part of anybody's private network.

A name is resolved once, every address that it has is checked, and the connection is made to an address
that was checked, so that a name cannot change in between.
"""

import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from accounts import stored_sentences as stored
from accounts.networks import Address, is_within

_PORTS = (443, 8443)
_RESOLVE_S = 3.0
# When all of them wait for a name server that does not answer, other names are not found either.
_resolvers = ThreadPoolExecutor(8, thread_name_prefix="resolve")
_LONGEST_URL = 2_000
# Global by their registration, and yet ways into private networks or to nobody in particular:
# NAT64 (RFC 6052, 8215), 6to4 (RFC 3056) and its relays (RFC 7526), Teredo (RFC 4380), protocol
# assignments (RFC 6890), which some clouds serve their secrets at.
_SPECIAL = [
    ipaddress.ip_network(text)
    for text in (
        *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "192.88.99.0/24", "2001::/32"),
        "192.0.0.0/24",
    )
]
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is assigned (RFC 4291, 2.4)


class ForbiddenTarget(Exception):
    """The webhook must not go there. The message says why, and what to give instead."""


@dataclass(frozen=True)
class Target:
    """A URL and an address of its host that was checked."""

    scheme: str
    host: str
    port: int
    path: str  # with its query
    address: str

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


def is_public(address: Address) -> bool:
    """Whether an address is a machine's on the open internet."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return is_public(mapped)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.version == 4 or address in _IPV6_UNICAST


def _is_allowed(address: Address) -> bool:
    """Whether the operator let webhooks go there although it is not public."""
    return is_within(address, settings.WEBHOOK_NETWORKS)


def resolve_target(url: str) -> Target:
    """Check a URL and resolve its host. Raises ForbiddenTarget."""
    parts = _split(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    addresses = _resolve(host, port)
    private = [address for address in addresses if not is_public(address)]
    if refused := [address for address in private if not _is_allowed(address)]:
        if host == str(refused[0]):
            raise ForbiddenTarget(_(stored.NOT_PUBLIC) % {"address": host})
        found = {"host": host, "address": refused[0]}
        raise ForbiddenTarget(_(stored.LEADS_NOT_TO_PUBLIC) % found)
    if not private and (parts.scheme != "https" or port not in _PORTS):
        raise ForbiddenTarget(_(stored.NOT_HTTPS))
    path = parts.path or "/"
    return Target(
        parts.scheme,
        host,
        port,
        f"{path}?{parts.query}" if parts.query else path,
        str(addresses[0]),
    )


def _split(url: str) -> SplitResult:
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ForbiddenTarget(_(stored.NOT_ASCII))
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError as exc:
        raise ForbiddenTarget(_(stored.NO_URL) % {"error": exc}) from exc
    if parts.scheme not in ("https", "http") or not parts.hostname or "\\" in url:
        raise ForbiddenTarget(_(stored.NO_SUCH_SCHEME))
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ForbiddenTarget(_(stored.NO_CREDENTIALS))
    return parts


def _resolve(host: str, port: int) -> Sequence[Address]:
    """Ask the name servers, for some seconds at most: whoever owns the name may own them too, and a
    request waits for the answer.
    """
    asked = _resolvers.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = asked.result(timeout=_RESOLVE_S)
        return [ipaddress.ip_address(str(entry[4][0])) for entry in found]
    except (OSError, UnicodeError, ValueError) as exc:  # TimeoutError is an OSError
        asked.cancel()
        raise ForbiddenTarget(_(stored.NO_ADDRESS) % {"host": host}) from exc
