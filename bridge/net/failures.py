"""What a transport failure means: the request never left, or its answer is lost.

httpx-aiohttp reports a connection closed by the server after sending as ``httpx.ConnectTimeout`` (every aiohttp
``ClientConnectionError`` becomes one), so the aiohttp error behind an httpx error decides, not the httpx class.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl

import aiohttp
import httpx

from bridge.errors import Ambiguous, BridgeError, Drift, Unavailable
from bridge.tools import Request

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_WEBHOOK = re.compile(r"(/rest/\d+/)[^/]+")
_LEFT_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_LEFT_UNSENT_HTTPX = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class TransportError(Exception):
    """An attempt without an answer. ``is_sent``: the vendor may have got the request."""

    def __init__(self, reason: str, *, is_sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_sent = is_sent


class BodyTooLargeError(Exception):
    """The answer is larger than the account allows (bytes)."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


def is_repeatable(request: Request) -> bool:
    """Whether sending the request twice changes nothing more than sending it once."""
    return request.method in _READING if request.is_safe is None else request.is_safe


def place(base_url: str, request: Request) -> str:
    """Method, host and path for error texts: no query, no user info, no webhook code."""
    target = httpx.URL(join(base_url, request.url))
    port = f":{target.port}" if target.port else ""
    path = _WEBHOOK.sub(r"\1***", target.path)
    return f"{request.method} {target.host}{port}{path}"


def join(base_url: str, url: str) -> str:
    """An absolute URL: ``url`` itself, or appended to the base (whose own path is kept, for proxies)."""
    if url.startswith(("https://", "http://")):
        return url
    return f"{base_url.rstrip('/')}/{url.lstrip('/')}" if url else base_url


def from_exception(error: BaseException) -> TransportError:
    """Classify an error of httpx, aiohttp or asyncio. Texts of those errors are dropped: they hold URLs."""
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError | TimeoutError) else error
    if isinstance(cause, aiohttp.ClientError):
        is_sent = not isinstance(cause, _LEFT_UNSENT)
    else:
        is_sent = not isinstance(cause, _LEFT_UNSENT_HTTPX)
    return TransportError(_reason(cause), is_sent=is_sent)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(error.__cause__, socket.gaierror):
        return "host name not found; check base_url and DNS"
    if isinstance(error, ssl.CertificateError | aiohttp.ClientConnectorCertificateError):
        return "TLS certificate not trusted"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "TLS handshake failed"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno == errno.ECONNREFUSED:
        return "connection refused, nothing listens there; check base_url, or whether that server runs"
    if isinstance(error, aiohttp.ClientConnectorError | httpx.ConnectError):
        return "cannot connect"
    if isinstance(error, aiohttp.ConnectionTimeoutError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return "connecting took too long"
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientPayloadError | httpx.ReadError):
        return "the answer was cut off"
    if isinstance(error, httpx.DecodingError):
        return "the answer could not be decompressed"
    return f"connection lost ({type(error).__name__})"


def as_error(failure: TransportError, request: Request, where: str) -> BridgeError:
    """The error class whose recovery fits: did not arrive or may be repeated, or else nobody knows."""
    if failure.is_sent and not is_repeatable(request):
        return Ambiguous(f"{where}: {failure.reason} after sending; the write may have been applied")
    return Unavailable(f"{where}: {failure.reason}")


def too_large(limit: int, where: str) -> Drift:
    """An answer over the limit is not what the contract promises."""
    return Drift(f"{where}: the answer is larger than {limit} bytes")
