"""The proxies that the environment names for web servers."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from trajfmt.errors import UsageError, display
from trajfmt.storage.address import Address, without_credentials

__all__ = ["check_proxies"]

_WEB: Final = ("http", "https")


def check_proxies(address: Address) -> None:
    """Refuse a proxy of the environment that cannot be used for a web address.

    Raises:
        UsageError: the variable is not of the form `http://HOST:PORT`.
    """
    import urllib.request

    proxies = urllib.request.getproxies()
    for link in address.text.split("::"):
        scheme, host = link.partition("://")[0].lower(), urlsplit(link).hostname
        proxy = proxies.get(scheme, "") if scheme in _WEB else ""
        if not proxy or (host and urllib.request.proxy_bypass(host)):
            continue
        try:
            parts = urlsplit(proxy)
            good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise UsageError(
                f"{display(address)}: {scheme}_proxy is {display(without_credentials(proxy))!r}: expected"
                " http://HOST:PORT; correct or unset it, or name the host in no_proxy"
            )
