"""Secrets by reference: where one is, and why it cannot be had."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import SecretStr, model_validator

from bridge.config_base import Model
from bridge.errors import ConfigError


class SecretRef(Model):
    """A secret by reference: ``{ env = "NAME" }`` or ``{ file = "name" }``; never the secret itself."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _not_inline(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('a secret is never written here; use { env = "NAME" } or { file = "name" }')
        return value

    @model_validator(mode="after")
    def _one_of_two(self) -> SecretRef:
        if (self.env is None) == (self.file is None):
            raise ValueError("give exactly one of env and file")
        return self

    def path(self, folder: Path) -> Path:
        """Where the file is: absolute, else in ``$CREDENTIALS_DIRECTORY`` (systemd), else beside the config file."""
        assert self.file is not None
        name = Path(self.file)
        if name.is_absolute():
            return name
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if credentials and (Path(credentials) / name).exists():
            return Path(credentials) / name
        return folder / name

    def read(self, folder: Path) -> SecretStr:
        """The secret's text, without surrounding white space.

        Raises:
            ConfigError: the variable is not set or empty, or the file is missing, unreadable or empty.
        """
        if self.env is None:
            return SecretStr(_content(self.path(folder)))
        if self.env not in os.environ:
            raise ConfigError(f"environment variable {self.env} is not set; set it to the secret")
        text = os.environ[self.env].strip()
        if not text:
            raise ConfigError(f"environment variable {self.env} is empty; set it to the secret")
        return SecretStr(text)


def _content(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ConfigError(f"secret file {path} is not there; create it, mode 0600") from None
    except PermissionError:
        raise ConfigError(f"secret file {path} may not be read by this user; give it to the user we run as") from None
    except UnicodeDecodeError:
        raise ConfigError(f"secret file {path} is not UTF-8 text; write the secret into it as plain text") from None
    except OSError as error:
        raise ConfigError(f"cannot read secret file {path}: {error.strerror or type(error).__name__}") from None
    if not text:
        raise ConfigError(f"secret file {path} is empty")
    return text
