"""What ``bridge init`` has to know to write a section of the configuration: the form an adapter hands in.

An adapter tells which settings only a human knows, which ways of logging in there are, and which other settings are
worth showing (as comments). The wizard itself knows no vendor.
"""

from __future__ import annotations

from enum import StrEnum

from bridge.model import frozen


class Secrecy(StrEnum):
    """How a setting may be given."""

    OPEN = "open"
    TYPED = "typed"  # a secret that can be typed: written as a reference, never as itself
    FILE = "file"  # a secret that comes as a file of the vendor's: a reference to that file


@frozen
class Ask:
    """One setting nobody can guess. ``key`` is dotted inside the section: ``auth.token``.

    ``text`` says what is wanted, in a few words; it stands in questions, in errors and behind the written line.
    ``default`` is taken when nobody says otherwise, with the tenant's name for ``{tenant}``; ``choices`` are all that
    is legal, if few things are.
    """

    key: str
    text: str
    secrecy: Secrecy = Secrecy.OPEN
    default: str = ""
    choices: tuple[str, ...] = ()
    is_number: bool = False

    @property
    def is_secret(self) -> bool:
        return self.secrecy is not Secrecy.OPEN


@frozen
class Way:
    """One way of logging in, or one kind of place. ``is_granted``: its first tokens come by ``bridge auth``."""

    name: str
    text: str
    asks: tuple[Ask, ...]
    is_granted: bool = False


@frozen
class Spare:
    """A setting that has a good default, shown as a comment. ``value`` is TOML text: the default, or an example."""

    key: str
    value: str
    text: str


@frozen
class Form:
    """One side of an adapter. ``name`` is the section's own name unless the operator gives another.

    The first of ``ways`` is taken when nobody chooses; without any, ``asks`` are all there is; the question that offers
    them begins with ``choice``. ``takes_any_name``: of a destination without goals of its own, so that any name will
    do for them.
    """

    name: str = ""
    asks: tuple[Ask, ...] = ()
    ways: tuple[Way, ...] = ()
    spares: tuple[Spare, ...] = ()
    takes_any_name: bool = False
    choice: str = "How to log in to"
