"""What an amoCRM webhook says: which leads to read again. Nothing else in it is used (contract amocrm 8.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

from adapters.amocrm.claims import claims_of
from adapters.amocrm.settings import AmoCrmSettings, LongLivedToken
from bridge.errors import Refused
from bridge.hints import Hook, HookParser

_FIELDS_MOST = 100_000  # of one form: a body of the size that is let in holds fewer
# The names of the old version 2. A note tells whose it is, an incoming lead what it became once it is decided.
_LEAD = re.compile(r"leads\[(?:add|update|status|delete|restore|responsible)\]\[\d+\]\[id\]")
_NOTE = re.compile(r"leads\[note\]\[\d+\]\[note\]\[element_id\]")
_DECIDED = re.compile(r"unsorted\[\w+\]\[\d+\]\[(?:accept|decline)_result\]\[leads\]\[\d+\]")


def reader(settings: AmoCrmSettings, folder: Path) -> HookParser:
    """See ``ports.SourceSpec.hook``.

    Raises:
        ConfigError: the token cannot be read.
    """
    return partial(leads_of, account=_known_account(settings, folder))


def _known_account(settings: AmoCrmSettings, folder: Path) -> str:
    """The account's number: as configured, else as a long-lived token tells it; "" if neither does."""
    if settings.hook is not None and settings.hook.account_id is not None:
        return str(settings.hook.account_id)
    if not isinstance(settings.auth, LongLivedToken):
        return ""
    claims = claims_of(settings.auth.token.read(folder).get_secret_value())
    return str(claims.account_id or "") if claims is not None else ""


def leads_of(hook: Hook, *, account: str) -> tuple[str, ...]:
    """Keys of the leads a webhook names, in the order it names them.

    Contacts, companies and tasks are of no use here: what they change is read with the lead.

    Raises:
        Refused: it comes from another account, or is no form.
    """
    try:
        form = parse_qsl(hook.body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MOST)
    except ValueError:
        raise Refused("a webhook that is no form", code="not_a_form") from None
    if account and any(name == "account[id]" and value != account for name, value in form):
        raise Refused("a webhook of another account", code="other_account")
    return tuple(dict.fromkeys(f"lead:{int(number)}" for number in _numbers(form)))


def _numbers(form: Sequence[tuple[str, str]]) -> Iterator[str]:
    for name, value in form:
        if not (_LEAD.fullmatch(name) or _NOTE.fullmatch(name) or _DECIDED.fullmatch(name)):
            continue
        if value.isascii() and value.isdigit() and 0 < int(value[:19]) < 2**62 and len(value) < 20:
            yield value
