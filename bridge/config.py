"""Settings: one TOML file (with ``include``), overridden by the environment, secrets by reference only.

A wrong key is an error that names the key and the file. A wrong *tenant* switches off that tenant alone:
:func:`load` keeps the others and lists what is wrong in :attr:`Config.broken`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.config_base import NAME, Duration, Model, Names, as_text, parse_duration
from bridge.config_errors import describe, describe_root
from bridge.config_files import read_files
from bridge.config_secrets import SecretRef
from bridge.errors import ConfigError
from bridge.frozen import frozen
from bridge.matching import DestinationMatchSettings, MatchSettings
from bridge.model import IdKind
from bridge.scoring import FieldTest, Score, When, of_scores, unknown_scores
from bridge.spam import SpamSettings
from bridge.valuing import ExpectedSettings, Value, ValueOf

# Settings of adapters are made of these, too.
__all__ = ["NAME", "Duration", "FieldTest", "Model", "Names", "SecretRef", "When", "as_text", "parse_duration"]
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]+")
_LAST_PORT = 65535
_PATH_SECRET = re.compile(r"[A-Za-z0-9_-]{20,128}")


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f'unknown time zone "{name}"; use an IANA name such as "Europe/Moscow"') from None
    return name


def _public(value: str) -> str:
    """An address that vendors can reach; plain HTTP only on this machine (tests)."""
    parts = urlsplit(value)
    is_local = parts.hostname in ("127.0.0.1", "localhost")
    is_sound = parts.scheme == "https" or (is_local and parts.scheme == "http")
    if value and (not is_sound or not parts.hostname or parts.query or parts.fragment or parts.username):
        raise ValueError('write the address that vendors reach, such as "https://bridge.example.ru"')
    return value.rstrip("/")


def _bindable(value: str) -> str:
    """``host:port``, or "" for none; of IPv6 in brackets or without."""
    host, _, port = value.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 1 <= int(port) <= _LAST_PORT
    if value and not (is_port and _HOST.fullmatch(host)):
        raise ValueError(f'is no address with a port from 1 to {_LAST_PORT}; write "127.0.0.1:8080", or "" for none')
    return value


TimeZone = Annotated[str, AfterValidator(_known_zone)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class SourceSettings(Model):
    """What every source has. ``fields``: which custom fields hold which identifier, by name, code or id.

    ``sweep_every``: how often all open deals are read again; zero: never.
    """

    kind: str
    poll_every: Duration = timedelta(seconds=60)
    sweep_every: Duration = timedelta(days=1)
    start_from: Duration = timedelta(days=1)
    fields: dict[IdKind, Names] = Field(default_factory=dict)


class TrackerSettings(SourceSettings):
    """What every call tracker has. ``reread``: so far back its records are listed again, for what changes late.

    ``sends_calls``: whether the tracker itself tells ad systems of its calls and forms; ``bridge check`` warns until
    that is said.
    """

    poll_every: Duration = timedelta(minutes=5)
    start_from: Duration = timedelta(days=30)
    reread: Duration = timedelta(days=2)
    sends_calls: Literal["unknown", "yes", "no"] = "unknown"


class HookSettings(Model):
    """Webhooks of a source. ``secret``: the last part of the address they are posted to."""

    secret: SecretRef

    def path_secret(self, folder: Path) -> str:
        """The secret, fit for an address.

        Raises:
            ConfigError: it cannot be read, is short, or holds characters that an address changes.
        """
        text = self.secret.read(folder).get_secret_value()
        if not _PATH_SECRET.fullmatch(text):
            raise ConfigError('hook.secret must be 20 to 128 letters, digits, "-" and "_"; try "openssl rand -hex 20"')
        return text


class HookedSettings(SourceSettings):
    """What a source has whose vendor can post webhooks; without ``hook`` none are taken."""

    hook: HookSettings | None = None


def hook_of(section: object) -> HookSettings | None:
    """The webhooks that a section asks for; None where its kind has none, or they are not wanted."""
    return section.hook if isinstance(section, HookedSettings) else None


class DestinationSettings(Model):
    """What every destination has. ``when_unsure``: only for proof NONE, after a lost answer."""

    kind: str
    match: DestinationMatchSettings = DestinationMatchSettings()
    send_every: Duration = timedelta(seconds=60)
    when_unsure: Literal["hold", "resend", "drop"] = "hold"


class Goal(Model):
    """What the tenant wants counted, and under which name each destination knows it.

    ``per``: a deal reaches the goal once, or with each of its payments. ``exclude_spam``: a deal that is spam by the
    tenant's rules does not reach it, and what was told of one before is taken back as far as that goes.
    """

    name: Annotated[str, Field(pattern=NAME.pattern)]
    when: When
    per: Literal["deal", "payment"] = "deal"
    value: Value | None = None
    currency: Currency | None = None
    exclude_spam: bool = False
    send: dict[str, str] = Field(default_factory=dict)
    undone_by: Names | None = None  # goals that take it back when they are reached later

    @field_validator("send", mode="before")
    @classmethod
    def _numbers_are_names(cls, value: Any) -> Any:
        return {k: str(v) if isinstance(v, int) else v for k, v in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _value_fits(self) -> Goal:
        if self.is_per_payment and self.value is None:
            raise ValueError('a goal per payment needs a value: "payment", a number, or an expression over the payment')
        if self.is_per_payment and self.value == "expected":
            raise ValueError('a payment is worth what was paid: value = "expected" does not go with per = "payment"')
        if self.is_per_payment and isinstance(self.value, ValueOf) and self.value.is_whole:
            raise ValueError(
                'with per = "payment" the amount of a field or of products would count with every payment; give a share'
            )
        if self.is_per_payment and self.value in ("deal", "deal_at_goal"):
            raise ValueError(
                'with per = "payment" the deal\'s amount would count with every payment; use value = "payment"'
            )
        if self.is_per_payment and self.exclude_spam:
            raise ValueError('who pays is no spam: exclude_spam does not go with per = "payment"')
        if self.is_per_payment and self.undone_by:
            raise ValueError("undone_by is for goals per deal; a payment is taken back by its refund in the CRM")
        if not self.is_per_payment and self.value == "payment":
            raise ValueError('value = "payment" needs per = "payment"')
        return self

    @property
    def is_sale(self) -> bool:
        """Whether it says no more than that the deal is won: lost again, the deal has not reached it any more."""
        return not self.is_per_payment and self.when.outcome == ["won"]

    @property
    def is_per_payment(self) -> bool:
        """Whether each payment of a deal reaches the goal."""
        return self.per == "payment"


class TenantSettings(Model):
    """One advertiser. ``sources`` and ``destinations`` hold the adapters' own settings models."""

    title: str = ""
    timezone: TimeZone = "Europe/Moscow"
    currency: Currency = "RUB"
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "RU"
    keep_raw_days: Annotated[int, Field(ge=0)] = 0
    match: MatchSettings = MatchSettings()
    spam: SpamSettings = SpamSettings()
    expected: ExpectedSettings = ExpectedSettings()
    sources: dict[str, Any] = Field(default_factory=dict)
    destinations: dict[str, Any] = Field(default_factory=dict)
    scores: dict[Annotated[str, Field(pattern=f"^{NAME.pattern}$")], Score] = Field(default_factory=dict)
    goals: list[Goal] = Field(default_factory=list)

    @property
    def blocks(self) -> Iterator[When]:
        """Every block of conditions: of goals, of their criteria, of scores."""
        for goal in self.goals:
            yield from goal.when.blocks
        yield from of_scores(self.scores.values())

    @model_validator(mode="after")
    def _goals_agree(self) -> TenantSettings:
        seen: set[str] = set()
        for goal in self.goals:
            if goal.name in seen:
                raise ValueError(f'goal "{goal.name}" is defined twice')
            seen.add(goal.name)
            wrong = unknown_scores(goal.when, self.scores)
            if wrong:
                raise ValueError(f'goal "{goal.name}": {wrong}')
            for name in goal.send:
                if name not in self.destinations:
                    known = ", ".join(self.destinations) or "none"
                    raise ValueError(f'goal "{goal.name}" sends to "{name}", which is no destination (known: {known})')
        for goal in self.goals:
            for name in goal.undone_by or ():
                if name not in seen or name == goal.name:
                    raise ValueError(f'goal "{goal.name}" is undone by "{name}", which is no other goal')
        return self

    @model_validator(mode="after")
    def _spam_is_looked_for(self) -> TenantSettings:
        """A goal that asks for spam where nothing can be noticed would wait for ever."""
        blocks = [(f'goal "{goal.name}"', block) for goal in self.goals for block in goal.when.blocks]
        blocks += [(f'score "{name}"', block) for name, one in self.scores.items() for block in of_scores([one])]
        on = self.spam.rules
        asking = [who for who, block in blocks if block.spam is not None]
        asking += [f'goal "{goal.name}"' for goal in self.goals if goal.exclude_spam]
        for who in asking if not on else ():
            text = f"{who} looks at spam, and no spam rule is on"
            raise ValueError(f"{text}; switch some on: [tenants.NAME.spam] phone_invalid = true")
        for who, name in ((who, name) for who, block in blocks for name in block.signal or () if name not in on):
            where = f"switch it on: [tenants.NAME.spam] {name} = ..."
            raise ValueError(f'{who} looks at the signal "{name}", which is off; {where}')
        return self

    @model_validator(mode="after")
    def _no_goal_looks_at_marks(self) -> TenantSettings:
        """A goal that is reached by our own mark would go round in circles."""
        marks = {name: mark for name, one in self.sources.items() if (mark := getattr(one, "write_back", None))}
        for name, mark in marks.items():
            for block in self.blocks:
                for kind, own, named in (
                    ("tag", getattr(mark, "tag", ""), block.tag),
                    ("field", mark.field, block.field),
                ):
                    if own and own.casefold() in (item.casefold() for item in named or ()):
                        text = f'{self._owner(block)} looks at the {kind} "{own}" that write_back of "{name}" writes'
                        raise ValueError(f"{text}; use another {kind}")
        return self

    def _owner(self, block: When) -> str:
        """Of which goal or score a block of conditions is, in words."""
        owners = [f'goal "{goal.name}"' for goal in self.goals if any(block is one for one in goal.when.blocks)]
        owners += [f'score "{name}"' for name, one in self.scores.items() if any(block is b for b in of_scores([one]))]
        return owners[0]


class DatabaseSettings(Model):
    url: str = "sqlite:///bridge.db"


class WebSettings(Model):
    """``public_url``: where vendors reach ``listen``, for webhooks; "" when they cannot."""

    listen: Annotated[str, AfterValidator(_bindable)] = "127.0.0.1:8080"
    public_url: Annotated[str, AfterValidator(_public)] = ""

    @property
    def place(self) -> tuple[str, int] | None:
        """Host and port of ``listen``; None when nothing is served."""
        host, _, port = self.listen.rpartition(":")
        return (host.strip("[]"), int(port)) if self.listen else None


class LogSettings(Model):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class RootSettings(BaseSettings):
    """The file's top level. ``BRIDGE_DATABASE__URL`` and the like override it."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="BRIDGE_", env_nested_delimiter="__", env_nested_max_split=1
    )

    include: list[str] = Field(default_factory=list)
    database: DatabaseSettings = DatabaseSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    tenants: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(  # the signature is pydantic-settings' own
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file (which comes as init arguments); nothing else is read."""
        return (env_settings, init_settings)


@frozen
class Config:
    """A loaded configuration. ``broken`` maps a tenant's name to what is wrong with it, one line each.

    ``unmatched``: patterns of ``include`` that no file fits.
    """

    path: Path
    database: DatabaseSettings
    web: WebSettings
    log: LogSettings
    tenants: Mapping[str, TenantSettings]
    broken: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where relative names (secrets, SQLite files, tables) are looked up."""
        return self.path.parent

    def database_url(self) -> str:
        """The database URL with a relative SQLite path made absolute from the config file's folder."""
        prefix = "sqlite:///"
        url = self.database.url
        if not url.startswith(prefix) or url.startswith(prefix + "/"):
            return url
        return f"{prefix}{self.folder.resolve() / url.removeprefix(prefix)}"


# Given a section name ("sources" or "destinations") and a kind, the settings model; raises ConfigError if unknown.
SettingsOf = Any


def load(path: Path, settings_of: SettingsOf) -> Config:
    """Read, merge includes, validate; every adapter section by its own model.

    Args:
        path: the TOML file.
        settings_of: ``(section, kind) -> settings model`` (``registry.settings_of``).

    Raises:
        ConfigError: the file or its top level is wrong. Errors inside one tenant, or one included file, go to
            ``Config.broken``; so does a tenant that several files define.
    """
    files = read_files(path)
    try:
        root = RootSettings(**files.raw)
    except ValidationError as error:
        raise ConfigError("\n".join(describe_root(error, path, RootSettings))) from None
    tenants: dict[str, TenantSettings] = {}
    broken = dict(files.broken)
    for name, section in root.tenants.items():
        if name in broken:
            continue
        origin = files.origins.get(name, [path])[0]  # one from the environment has none
        try:
            tenants[name] = tenant_settings(name, section, settings_of)
        except ValidationError as error:
            broken[name] = describe(error, origin, ("tenants", name), TenantSettings)
        except ConfigError as error:
            broken[name] = (f"{origin}: {error}",)
    return Config(path, root.database, root.web, root.log, tenants, broken, tuple(files.unmatched))


def empty(path: Path) -> Config:
    """The configuration of a file that is not written yet; the environment counts.

    Raises:
        ConfigError: a variable of the environment is wrong.
    """
    try:
        root = RootSettings()
    except ValidationError as error:
        raise ConfigError("\n".join(describe_root(error, path, RootSettings))) from None
    return Config(path, root.database, root.web, root.log, {})


def tenant_settings(name: str, section: Any, settings_of: SettingsOf) -> TenantSettings:
    """One tenant's table, every adapter's section by its own model.

    Raises:
        ConfigError: a name is wrong, an adapter's section is wrong, or there is no such kind.
        pydantic.ValidationError: something else of the tenant is wrong.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f'tenants.{name}: a tenant\'s name is lower-case Latin letters, digits, "_" and "-"')
    if not isinstance(section, dict):
        raise ConfigError(f"tenants.{name}: must be a table")
    built = dict(section)
    for part in ("sources", "destinations"):
        built[part] = {
            own: _adapter(f"tenants.{name}.{part}.{own}", part, own, raw, settings_of)
            for own, raw in section.get(part, {}).items()
        }
    if "collector" in built:
        if "collector" in built["sources"]:
            raise ConfigError(f"tenants.{name}.sources.collector: that name is the collector's; choose another")
        raw = built.pop("collector")
        built["sources"]["collector"] = _checked(f"tenants.{name}.collector", settings_of("collector", ""), raw)
    return TenantSettings.model_validate(built)


def _adapter(where: str, part: str, own: str, raw: Any, settings_of: SettingsOf) -> Any:
    if not NAME.fullmatch(own):
        raise ConfigError(f'{where}: a name is lower-case Latin letters, digits, "_" and "-"')
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        raise ConfigError(f'{where}: "kind" is missing; run "bridge adapters" for the list')
    try:
        model = settings_of(part, raw["kind"])
    except ConfigError as error:
        raise ConfigError(f"{where}.kind: {error}") from None
    return _checked(where, model, raw)


def _checked(where: str, model: Any, raw: Any) -> Any:
    """A section by its own model."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = describe(error, None, tuple(where.split(".")), model)
        raise ConfigError("; ".join(lines)) from None
