"""``bridge check`` for an amoCRM account: reads a little of everything the source will need. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from adapters.amocrm import api, auth, marks
from adapters.amocrm.api import Api
from adapters.amocrm.mapping import FieldMap
from adapters.amocrm.oauth import Integration
from adapters.amocrm.settings import AmoCrmSettings, vendor_of
from adapters.amocrm.wire import Account, FieldInfo
from bridge.model import frozen
from bridge.ports import SOON, Finding, Level
from bridge.sources import Look, looked


@frozen
class Seen:
    """What is known before anything is asked. ``folder`` holds secrets, ``integration`` is None without OAuth."""

    settings: AmoCrmSettings
    folder: Path
    integration: Integration | None
    now: datetime


async def check(client: Api, seen: Seen) -> list[Finding]:
    """Account, token, pipelines, events, contacts, configured fields; each problem is a finding."""
    looks: dict[str, Look] = {
        "account": lambda: _account(client, seen),
        "pipelines": lambda: _pipelines(client),
        "events": lambda: _readable(client, api.EVENTS, "events", "the times of stage changes come from them"),
        "contacts": lambda: _readable(client, api.CONTACTS, "contacts", "phones and e-mails come from them"),
        "fields": lambda: _fields(client, seen.settings.fields),
        "write_back": lambda: marks.findings(client, seen.settings),
    }
    return [_token(seen), *await looked(looks)]


def _token(seen: Seen) -> Finding:
    if seen.integration is not None:
        return Finding(Level.OK, "token", "OAuth; renewed by itself, and lost after three months without a renewal")
    ends, now = auth.expires(seen.settings, seen.folder), seen.now
    if ends is None:
        return Finding(Level.WARNING, "token", "its expiry cannot be read; is it a long-lived access token?")
    if ends <= now:
        return Finding(Level.ERROR, "token", f"ended on {ends:%Y-%m-%d}; make a new long-lived token")
    if ends - now < SOON:
        return Finding(Level.WARNING, "token", f"ends on {ends:%Y-%m-%d}; make a new long-lived token before that")
    return Finding(Level.OK, "token", f"valid until {ends:%Y-%m-%d}")


async def _account(client: Api, seen: Seen) -> list[Finding]:
    account = await client.account()
    currency = account.currency or "no currency"
    found = [Finding(Level.OK, "account", f'"{account.name}" ({account.id}), {currency}')]
    if account.is_api_filter_enabled is False:
        text = "the account says that list filters are off; if reading stops with an error, ask support for them"
        found.append(Finding(Level.WARNING, "account", text))
    moved = _moved(account, seen)
    if moved:
        text = f'the account is at {moved} now; set base_url = "{moved}"'
        found.append(Finding(Level.WARNING, "base_url", text))
    return found


def _moved(account: Account, seen: Seen) -> str:
    """Where a renamed account is now; "" when it is where the configuration says."""
    if seen.integration is not None and seen.integration.home:
        return seen.integration.home
    vendor, own = vendor_of(seen.settings.base_url), seen.settings.base_url
    told = f"https://{account.subdomain.lower()}.{vendor}"
    return told if vendor and account.subdomain and told != own.lower() else ""


async def _pipelines(client: Api) -> list[Finding]:
    pipelines = [item for item in await client.everything(api.PIPELINES) if not item.is_archive]
    names = ", ".join(f'"{item.name}"' for item in pipelines)
    return [Finding(Level.OK, "pipelines", f"{len(pipelines)}: {names}")]


async def _readable(client: Api, listed: api.Listed[api.T], subject: str, why: str) -> list[Finding]:
    await client.page(listed, ())
    return [Finding(Level.OK, subject, f"readable; {why}")]


async def _fields(client: Api, fields: FieldMap) -> list[Finding]:
    if not fields:
        return []
    known = [*await client.everything(api.LEAD_FIELDS), *await client.everything(api.CONTACT_FIELDS)]
    return [_field(kind, name, known) for kind, names in fields.items() for name in names]


def _field(kind: str, name: str, known: Sequence[FieldInfo]) -> Finding:
    names = {text.lower(): text for item in known for text in (str(item.id), item.code or "", item.name) if text}
    subject = f"fields.{kind}"
    if name.lower() in names:
        return Finding(Level.OK, subject, f'field "{name}" exists')
    near = get_close_matches(name.lower(), names, n=3)
    hint = f"nearest: {', '.join(names[item] for item in near)}" if near else "no field has a similar name"
    return Finding(Level.ERROR, subject, f'no field "{name}" on leads or contacts; {hint}')
