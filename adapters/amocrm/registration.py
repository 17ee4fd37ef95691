"""Our webhook at the account: looked for, registered, put right, taken away (contract amocrm 8.1, 8.3)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from adapters.amocrm import wire
from adapters.amocrm.api import Api, Listed
from adapters.amocrm.auth import HOOKS_PATH
from adapters.amocrm.wire import Webhook
from bridge.errors import Refused
from bridge.hints import HookState
from bridge.tools import Account, Request

EVENTS = ("add_lead", "update_lead", "status_lead", "delete_lead", "restore_lead")
_HOOKS = Listed(wire.WEBHOOKS, HOOKS_PATH)
_HEADERS = {"content-type": "application/json"}


class Webhooks:
    """``hints.Registrar`` of one account.

    All of the account's webhooks are listed (it has at most 100): asking for one by its address would put the secret
    into the address of a request.
    """

    def __init__(self, api: Api, account: Account, *, is_wanted: bool) -> None:
        self.is_wanted = is_wanted
        self._api = api
        self._account = account

    async def state(self, address: str) -> HookState:
        """See ``hints.Registrar.state``."""
        return _state(address, await self._api.everything(_HOOKS))

    async def keep(self, address: str, beginning: str) -> HookState:
        """See ``hints.Registrar.keep``.

        Whether posting it again wakes a disabled webhook, and replaces its events or adds to them, is not documented:
        if the answer is not what we want, it is deleted and made anew.
        """
        hooks = await self._api.everything(_HOOKS)
        found = _state(address, hooks)
        if found is not HookState.GOOD:
            events = sorted(
                {*EVENTS, *(event for hook in hooks if hook.destination == address for event in hook.events)}
            )
            if _fault(await self._save(address, events)) is not HookState.GOOD:
                await self._delete(address)
                await self._insist(address, events)
        for hook in _with(beginning, hooks):
            if hook.destination != address:
                await self._delete(hook.destination)
        return found

    async def remove(self, beginning: str) -> int:
        """See ``hints.Registrar.remove``."""
        hooks = _with(beginning, await self._api.everything(_HOOKS))
        for hook in hooks:
            await self._delete(hook.destination)
        return len(hooks)

    async def _insist(self, address: str, events: list[str]) -> None:
        kept = _fault(await self._save(address, events))
        if kept is not HookState.GOOD:
            text = "amoCRM took our webhook but keeps it"
            raise Refused(f"{text} {kept}; save it by hand in the account, or ask its support", code=f"hook_{kept}")

    async def _save(self, address: str, events: list[str]) -> Webhook:
        """Repeating it is harmless: there is one webhook for an address."""
        body = msgspec.json.encode({"destination": address, "settings": events, "sort": 10})
        answer = await self._account.send(Request("POST", HOOKS_PATH, headers=_HEADERS, body=body, is_safe=True))
        return wire.read_one(answer.body, Webhook, "webhook")

    async def _delete(self, address: str) -> None:
        body = msgspec.json.encode({"destination": address})
        try:
            await self._account.send(Request("DELETE", HOOKS_PATH, headers=_HEADERS, body=body, is_safe=True))
        except Refused as error:
            if error.code != "http_404":  # it is not there: so be it
                raise


def _with(beginning: str, hooks: Iterable[Webhook]) -> list[Webhook]:
    return [hook for hook in hooks if hook.destination.startswith(beginning)]


def _state(address: str, hooks: Iterable[Webhook]) -> HookState:
    ours = [hook for hook in hooks if hook.destination == address]
    return _fault(ours[0]) if ours else HookState.MISSING


def _fault(hook: Webhook) -> HookState:
    if hook.disabled:
        return HookState.DISABLED
    return HookState.GOOD if set(EVENTS) <= set(hook.events) else HookState.PARTIAL
