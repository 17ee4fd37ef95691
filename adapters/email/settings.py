"""Settings of an e-mail destination."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bridge.config import SecretRef
from bridge.config_base import as_list
from bridge.notices import NoticeSettings, Template
from bridge.tools import Security

_LOCAL = ("127.0.0.1", "localhost", "::1")

Address = Annotated[str, Field(pattern=r"^[\x21-\x3f\x41-\x7e]+@[\x21-\x3f\x41-\x7e]+$", max_length=254)]
Addresses = Annotated[list[Address], BeforeValidator(as_list), Field(min_length=1)]


class EmailSettings(NoticeSettings):
    """One mailbox to send from. ``to`` gives the names that ``send`` uses their addresses."""

    kind: Literal["email"]
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 465
    security: Security = Security.TLS
    user: str = ""
    password: SecretRef | None = None
    sender: Address
    to: Annotated[dict[str, Addresses], Field(min_length=1)]
    subject: Template = "{goal}: {deal}"

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        """A password does not travel the internet in the clear; on one's own machine it may."""
        if self.security is Security.NONE and self.host not in _LOCAL:
            raise ValueError('security = "none" is for a mail server on this machine; take "tls" or "starttls"')
        if bool(self.user) != (self.password is not None):
            raise ValueError("user and password go together")
        return self
