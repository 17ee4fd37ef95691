"""Immutable values: the decorator that the domain's classes are made with. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A slotted dataclass that the type checker keeps immutable.

    ``dataclass(frozen=True)`` also checks at run time, which makes every object four times as dear to create; some
    thirty are created for each deal.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
