"""Settings: both ways to log in, and addresses that cannot be right."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from adapters.amocrm import SPEC
from adapters.amocrm.settings import AmoCrmSettings, LongLivedToken, OAuth

TOKEN = {"token": {"env": "X"}}
OAUTH = {
    "client_id": "u",
    "client_secret": {"env": "S"},
    "redirect_uri": "https://a.example",
    "refresh_token": {"file": "r"},
}


def settings(**changes: Any) -> AmoCrmSettings:
    return AmoCrmSettings.model_validate(
        {"kind": "amocrm", "base_url": "https://a.amocrm.ru/", "auth": TOKEN} | changes
    )


def test_both_ways_to_log_in_are_understood() -> None:
    """A token, or an integration with its first refresh token."""
    assert isinstance(settings().auth, LongLivedToken)
    assert isinstance(settings(auth=OAUTH).auth, OAuth)
    assert isinstance(settings(auth={**OAUTH, "refresh_token": None}).auth, OAuth)
    assert settings().base_url == "https://a.amocrm.ru"
    assert settings().requests_per_second == 7
    assert SPEC.source is not None
    assert SPEC.source.settings is AmoCrmSettings


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "a.amocrm.ru"},
        {"base_url": "https://www.amocrm.ru"},
        {"base_url": "https://a.amocrm.ru/api/v4"},
        {"base_url": "https://a.amocrm.ru?x=1"},
        {"requests_per_second": 0},
        {"auth": {**OAUTH, "client_id": ""}},
        {"auth": {"token": "inline"}},
        {"auth": {"client_id": "u"}},
        {"auth": "x"},
        {"colour": 1},
    ],
)
def test_what_cannot_work_is_refused_at_once(changes: dict[str, Any]) -> None:
    """Errors of the configuration are found before the first request."""
    with pytest.raises(ValidationError):
        settings(**changes)
