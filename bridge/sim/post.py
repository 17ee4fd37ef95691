"""How vendors post webhooks: a form, and little patience for the answer."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

PATIENCE = 2.0  # seconds; real ones, as a client's are


async def post(url: str, form: Sequence[tuple[str, str]], patience: float = PATIENCE) -> int | None:
    """Post a form; the status of the answer, None when there was none in time."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience)) as session,
            session.post(url, data=list(form), allow_redirects=False) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
