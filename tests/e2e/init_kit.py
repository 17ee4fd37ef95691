"""What the tests of ``bridge init`` share: the shortest call, and how the result is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge.compose import load_config
from bridge.config import Config

SKELETON = (
    *("init", "--tenant", "okna", "--source", "amocrm", "--destination", "yandex_metrica"),
    *("--base-url", "https://okna.amocrm.ru", "--counter-id", "90000001"),
)


def tenant(path: str = "config.toml", name: str = "okna") -> Any:
    """The tenant's settings as they load, none of them broken."""
    loaded: Config = load_config(Path(path))
    assert dict(loaded.broken) == {}
    return loaded.tenants[name]


def sent(settings: Any) -> dict[str, dict[str, str]]:
    return {goal.name: dict(goal.send) for goal in settings.goals}
