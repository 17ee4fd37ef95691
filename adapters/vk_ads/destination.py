"""One pixel of VK Ads as a destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from adapters.vk_ads import mapping, wire
from adapters.vk_ads.settings import VkAdsSettings
from bridge.destinations import OneByOne
from bridge.errors import Refused
from bridge.model import Outgoing
from bridge.ports import (
    Admission,
    Answer,
    DestinationTraits,
    Fate,
    Finding,
    Level,
    Payload,
    Proof,
    RowOutcome,
    Sealed,
)
from bridge.survey import DestinationSurvey
from bridge.tools import AccountSetup, Rate, Request, Tools

TRAITS = DestinationTraits(
    proof=Proof.NONE,  # a hit has no id of ours, and nothing can be asked afterwards
    accepts=mapping.KINDS,
    verify_first=None,
    give_up_after=timedelta(days=90),  # ``window_event`` ends sooner
)
RATE = Rate(per_second=10.0, burst=10, parallel=2)  # no limit is documented
_TIMEOUT = 30.0


def build(own: str, settings: VkAdsSettings, tools: Tools) -> VkAds:
    """A destination for validated settings."""
    return VkAds(own, settings, tools)


class VkAds(OneByOne):
    """One pixel. A batch is one row: the contract has one conversion in a hit.

    What was attributed is visible in the cabinet's statistics only, in sums.
    """

    def __init__(self, own: str, settings: VkAdsSettings, tools: Tools) -> None:
        self.traits = TRAITS
        self._settings = settings
        self._account = tools.http.account(
            AccountSetup(name=f"{tools.tenant.name}/{own}", base_url=settings.base_url, judge=mapping.judge, rate=RATE)
        )

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """What to compare by hand: a pixel answers no question, and any hit would change it."""
        goals = ", ".join(sorted(set(targets.values())))
        advice = (
            f"nothing can be asked of a pixel: compare in the cabinet that pixel {self._settings.pixel_id} has the "
            f"JavaScript-event goals {goals}; a lost answer cannot be proved either (when_unsure)"
        )
        return [Finding(Level.WARNING, "pixel", advice)]

    async def targets(self) -> DestinationSurvey:
        """See ``survey.ListsTargets``: a pixel does not tell."""
        return DestinationSurvey(
            note="a pixel does not tell its goals: name JavaScript-event goals of the cabinet by hand"
        )

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return mapping.admit(row, now, self._settings)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The hit of the only row. There is no place in it for the label."""
        (row,) = rows
        return mapping.render(row, self._settings.pixel_id)

    async def send(self, batch: Sealed) -> Answer:
        """One hit.

        Raises:
            Ambiguous: the answer is lost, or says nothing certain.
            Refused: the pixel refuses for a reason that lies not in the row.
        """
        (row,) = batch.rows
        try:
            await self._account.send(Request("GET", _address(batch.payload), is_safe=False, timeout=_TIMEOUT))
        except Refused as refusal:
            if refusal.code != "http_400":
                raise
            return Answer((RowOutcome(row, Fate.REJECTED, refusal.code),))
        return Answer((RowOutcome(row, Fate.ACCEPTED),))


def _address(payload: Payload) -> str:
    return f"{wire.PATH}?{payload.body.decode()}"
