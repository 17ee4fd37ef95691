"""The collector as a source: reads what was posted from our own database. Its records are touches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import timedelta

import msgspec

from bridge.catalogue import Catalogue
from bridge.collector.post import Form
from bridge.collector.settings import TOO_MANY_OF_DAY, CollectorSettings
from bridge.collector.touches import touches_of
from bridge.model import Deal
from bridge.ports import BadRecord, Finding, Head, Level, Listing, SourceTraits, Window
from bridge.sources import digest
from bridge.store.collected import Collected, Post
from bridge.tools import Clock

_PAGE = 500
_OVERLAP = timedelta(minutes=1)  # clocks of machines that take posts differ; nothing else, see ``store.collected``
_decode = msgspec.json.Decoder(Form).decode


class CollectorSource:
    """``ports.Source`` over the posts of one tenant."""

    def __init__(self, tenant: str, settings: CollectorSettings, collected: Collected, clock: Clock) -> None:
        self.traits = SourceTraits(overlap=_OVERLAP, brings_touches=True)
        self._tenant = tenant
        self._settings = settings
        self._collected = collected
        self._clock = clock

    async def check(self) -> list[Finding]:
        """See ``ports.Source.check``: what has come so far."""
        report = await self._collected.report(self._tenant)
        sites = ", ".join(self._settings.sites)
        if not self._settings.post:
            return [Finding(Level.OK, "posts", "switched off; forms carry the identifiers themselves")]
        if report.taken_at is None:
            text = f"none yet; put the snippet on {sites} (docs/howto/collect-clicks.md) and send a form"
            return [Finding(Level.WARNING, "posts", text)]
        now = self._clock.now()
        flooded = report.last.get(TOO_MANY_OF_DAY)
        if flooded is not None and now - flooded < timedelta(days=7):
            most = f"per_day = {self._settings.per_day}"
            text = f"more than {most} came on {flooded:%Y-%m-%d} (UTC) and were refused; a flood, or set it higher"
            return [Finding(Level.WARNING, "posts", text)]
        days = (now - report.taken_at) // timedelta(days=1)
        level = Level.WARNING if days >= 7 else Level.OK
        return [Finding(level, "posts", f"the last one came {days} days ago, from {sites}")]

    async def catalogue(self) -> Catalogue:
        """Forms have no stages."""
        return Catalogue()

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """See ``ports.Source.scan``; in the order in which they came."""
        await self._collected.settled()
        last: Post | None = None
        while True:
            posts = await self._collected.listed(self._tenant, window.start, window.end, last, _PAGE)
            yield _listing(posts)
            if len(posts) < _PAGE:
                return
            last = posts[-1]

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """See ``ports.Source.fetch``; as long as the posts are kept."""
        wanted = frozenset(keys)
        listing = _listing(await self._collected.named(self._tenant, sorted({key.partition(":")[2] for key in keys})))
        return Listing(tuple([head for head in listing.heads if head.key in wanted]), listing.bad, 1.0)

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """See ``ports.Source.complete``; a post tells everything."""
        return [head.row for head in heads]

    async def close(self) -> None:
        """Nothing of its own to close."""


def _listing(posts: Iterable[Post]) -> Listing:
    heads = []
    for post in posts:
        for touch in touches_of(_decode(post.body), digest(post.body), post.at):
            heads.append(Head(touch.key, touch.version, post.at, touch))
    return Listing(tuple(heads))
