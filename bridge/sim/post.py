"""How vendors post webhooks: a form or a body, and little patience for the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import aiohttp

PATIENCE = 2.0  # seconds; real ones, as a client's are


async def post(url: str, form: Sequence[tuple[str, str]], patience: float = PATIENCE) -> int | None:
    """Post a form; the status of the answer, None when there was none in time."""
    return await _post(url, list(form), {}, patience)


async def post_body(url: str, body: bytes, headers: Mapping[str, str], patience: float = PATIENCE) -> int | None:
    """Post bytes as they are; the status of the answer, None when there was none in time."""
    return await _post(url, body, headers, patience)


async def _post(
    url: str, data: bytes | list[tuple[str, str]], headers: Mapping[str, str], patience: float
) -> int | None:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience)) as session,
            session.post(url, data=data, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
