"""Settings of write-back: how deals are marked in a CRM. Off unless the section is there."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from bridge.config import HookedSettings, Model, as_text


class MarkSettings(Model):
    """Every way to mark has a custom ``field`` for the text, or may have one."""

    field: Annotated[str, BeforeValidator(as_text), Field(min_length=1)] | None = None


class WriteBackSettings(MarkSettings):
    """A text in the custom ``field``, the ``tag`` while something was sent, or both."""

    tag: Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[^,\n]+$")] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> WriteBackSettings:
        if self.field is None and self.tag is None:
            raise ValueError('say how: { field = "..." }, { tag = "..." }, or both')
        return self


class MarkedSettings(HookedSettings):
    """What a source has into which marks can be written; without ``write_back`` nothing is ever written."""

    write_back: MarkSettings | None = None

    @model_validator(mode="after")
    def _mark_is_not_read(self) -> MarkedSettings:
        """Identifiers are not overwritten, and no mark is taken for one."""
        own = self.write_back.field if self.write_back is not None else None
        for kind, names in self.fields.items():
            if own and own.casefold() in (name.casefold() for name in names):
                raise ValueError(f"write_back.field would overwrite fields.{kind}; give it a field of its own")
        return self
