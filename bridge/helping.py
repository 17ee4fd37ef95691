"""How ``--help`` looks: whole paragraphs, wrapped by the terminal alone, and narrow columns."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _Helpful:
    """What commands and groups have in common, over typer's own class."""

    help: str | None

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, its paragraphs unwrapped: the terminal wraps them."""
        self.help = unwrapped(self.help)
        super().format_help(ctx, formatter)  # type: ignore[misc]  # of the class that this is mixed into

    def get_params(self, ctx: Any) -> Any:
        """The parameters; a flag has no word for its value."""
        return _told(super().get_params(ctx))  # type: ignore[misc]  # of the class that this is mixed into


class HelpfulCommand(_Helpful, TyperCommand):
    """A command whose help fits a terminal of 80 columns."""


class HelpfulGroup(_Helpful, TyperGroup):
    """The same for a group of commands."""


def unwrapped(text: str | None) -> str | None:
    """Paragraphs as one line each."""
    if text is None:
        return None
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _told(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
        elif param.metavar is None and getattr(param, "multiple", False):
            param.metavar = "<str>"
        elif param.metavar is None and getattr(param, "min", None) is not None:
            param.metavar = "<int>"  # the range follows it
    return params
