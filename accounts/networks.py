"""From which networks a key may be used."""

import ipaddress
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext_noop

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(request: HttpRequest) -> Address | None:
    """Where a request comes from; None if nobody can tell.

    Only what our own proxies wrote into X-Forwarded-For counts: so many entries from its end as
    there are proxies. What stands before them anybody can have written.
    """
    text = request.META.get("REMOTE_ADDR", "")
    if settings.TRUSTED_PROXIES:
        entries = request.headers.get("X-Forwarded-For", "").split(",")
        text = entries[-settings.TRUSTED_PROXIES :][0].strip()
        if len(entries) < settings.TRUSTED_PROXIES:
            return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)  # as a socket for both families shows IPv4
    return address if mapped is None else mapped


def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


def is_within(address: Address | None, networks: Iterable[str]) -> bool:
    """Whether an address lies in one of the networks, which are in CIDR notation."""
    return address is not None and any(address in _network(text) for text in networks)


def wider(networks: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Which of the networks asked for do not lie in one of ``networks``; none: everywhere."""
    if not networks:
        return []
    own = [_network(text) for text in networks]
    if not asked:
        return [gettext_noop("everywhere")]
    return [text for text in asked if not any(_lies_in(_network(text), net) for net in own)]


def _lies_in(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]
