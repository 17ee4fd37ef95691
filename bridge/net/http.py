"""The HTTP client of a process: one connection pool, one attempt at a time. No retry, no judgement, no cookies.

The API is httpx (so ``respx.mock(using="httpx")`` sees every request), the I/O is aiohttp's connector. The environment
is not read: proxies and netrc are ignored. Certificates: certifi's and the machine's own.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import quote, urlencode
from weakref import WeakValueDictionary

import aiohttp
import certifi
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream
from yarl import URL

from bridge.errors import ConfigError
from bridge.net import failures
from bridge.net.account import Caps, Station, VendorAccount, door_of
from bridge.net.limit import Limiter
from bridge.tools import Account, AccountSetup, Clock, Log, Request, Response, TokenStore

# Seconds. Vendors keep idle connections for a minute or more; dropping ours earlier avoids writing into a closing one.
_KEEP_ALIVE = 15.0
_CONNECT = 10.0
_SILENCE = 60.0
_CHUNK = 1 << 20  # all that has arrived, in place of 16 kB of it at a time
_PLAIN = bytes(range(0x21, 0x7F)).translate(None, b'"#<>')  # what httpx leaves as it is in a query
_LONGEST = 60_000  # of a query; httpx refuses longer addresses


@cache
def _certificates() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


@cache
def _user_agent() -> str:
    try:
        return f"conversion-bridge/{version('conversion-bridge')}"
    except PackageNotFoundError:  # run from a source tree
        return "conversion-bridge/0"


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ssl=_certificates())
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Content-Type",),  # the others that aiohttp would add are in every request
        trust_env=False,
    )
    # aiohttp would silently send PUT and DELETE twice when a kept connection breaks; repeating is net/retry's business.
    session._retry_connection = False
    # httpx has encoded the address; yarl would undo what it thinks needless, and some vendors read letter by letter.
    session._build_url = partial(URL, encoded=True)  # type: ignore[method-assign]  # aiohttp has no setting for it
    return session


class _PlainClient(httpx.AsyncClient):
    """httpx without redirects, logins and cookies: nothing a vendor sets for one tenant may reach another's requests.

    Leaving them out also takes less time than switching them off.
    """

    async def attempt(self, request: httpx.Request) -> httpx.Response:
        """Send as it is; the answer's body is still to be read."""
        return await self._transport_for_url(request.url).handle_async_request(request)


class HttpClient:
    """Makes accounts (``tools.Http``). Those of one name, address and rate share a limit, and those that name one."""

    def __init__(self, clock: Clock, log: Log, tokens: TokenStore) -> None:
        self._clock = clock
        self._log = log
        self._tokens = tokens
        self._limiters: WeakValueDictionary[tuple[object, ...], Limiter] = WeakValueDictionary()
        transport = AiohttpTransport(verify=_certificates(), trust_env=False, client=_session)
        self._client = _PlainClient(transport=transport, trust_env=False)

    def account(self, setup: AccountSetup) -> Account:
        """An account ready to send; opens no connection yet."""
        return VendorAccount(setup, self._station(setup))

    def door(self, setup: AccountSetup) -> Account:
        """The same account without a token: for what is asked before there is one."""
        return door_of(setup, self._station(setup))

    def _station(self, setup: AccountSetup) -> Station:
        place = (setup.limit, "") if setup.limit else (setup.name, setup.base_url)
        key = (*place, setup.rate, setup.scopes)
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = self._limiters[key] = Limiter(setup.rate, self._clock, scopes=setup.scopes)
        return Station(self._attempt, limiter, self._clock, self._log, self._tokens)

    async def close(self) -> None:
        """Close every connection. Requests under way fail."""
        await self._client.aclose()

    async def _attempt(self, request: Request, url: str, caps: Caps) -> Response:
        """Send once and read the whole answer, whatever its status.

        Raises:
            failures.TransportError: no complete answer.
            failures.BodyTooLargeError: reading stopped at ``caps.max_body`` bytes.
            ConfigError: a header (most likely the token) holds characters that HTTP forbids.
        """
        try:
            outgoing = _build(request, url, caps.total)
            async with caps.deadline():
                answer = await self._client.attempt(outgoing)
                headers = _headers(answer)
                try:
                    body = await _read(answer, caps.max_body, is_encoded="content-encoding" in headers)
                finally:
                    await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
            raise failures.from_exception(error) from None
        except ValueError:  # its text may hold the header
            raise ConfigError("a header cannot be sent; look for line breaks or odd letters in the token") from None
        return Response(answer.status_code, headers, body)


def _build(request: Request, url: str, total: float) -> httpx.Request:
    if request.params:
        url = f"{url}{'&' if '?' in url else '?'}{urlencode(request.params, quote_via=quote)}"
    # Connecting must give up before the whole attempt does: only then is "not sent" certain.
    connect = min(_CONNECT, total / 2)
    # No silence within the whole time is longer than that; the clock for it would be set anew with every chunk.
    silence = _SILENCE if total > _SILENCE else None
    outgoing = httpx.Request(
        request.method,
        _address(url),
        headers={"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": _user_agent(), **request.headers},
        stream=httpx.ByteStream(request.body or b""),  # host and length are aiohttp's business
        extensions={"timeout": {"connect": connect, "pool": connect, "read": silence, "write": None}},
    )
    outgoing.read()
    return outgoing


def _address(url: str) -> httpx.URL:
    """What httpx makes of it; it looks at every letter, which for 250 ids would take longer than all the rest."""
    place, mark, query = url.partition("?")
    if not mark or "#" in place or len(query) > _LONGEST or query.encode().translate(None, _PLAIN):
        return httpx.URL(url)
    address = httpx.URL(_place(place))
    address._uri_reference = address._uri_reference._replace(query=query)
    return address


@lru_cache(maxsize=256)
def _place(url: str) -> httpx.URL:
    return httpx.URL(url)


async def _read(answer: httpx.Response, limit: int, *, is_encoded: bool) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in _chunks(answer, is_encoded):
        size += len(chunk)
        if size > limit:
            raise failures.BodyTooLargeError(limit)
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _chunks(answer: httpx.Response, is_encoded: bool) -> AsyncIterable[bytes]:
    """The body as it comes; httpx's decoders only where something is to be decoded (they cost time per chunk)."""
    stream = answer.stream
    if not is_encoded and isinstance(stream, httpx.AsyncByteStream):
        if isinstance(stream, AiohttpResponseStream):
            stream.CHUNK_SIZE = _CHUNK
        return stream
    return answer.aiter_bytes()


def _headers(answer: httpx.Response) -> dict[str, str]:
    """Lower-case names; repeated headers are joined with a comma (RFC 9110 5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in answer.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
