"""Immutable values: the decorator that their classes are made with, and ``replace``, which copies with changes."""

from __future__ import annotations

import dataclasses
import re
import sys
from dataclasses import MISSING, field
from enum import Enum
from inspect import get_annotations
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import msgspec

if TYPE_CHECKING:
    from dataclasses import replace  # so that the changes are checked
else:
    from msgspec.structs import replace

__all__ = ["frozen", "replace"]

T = TypeVar("T")

_META: Any = type(msgspec.Struct)
_WORD = re.compile(r"\w+")
_PLAIN = frozenset(
    ("None", "bool", "bytes", "date", "datetime", "Decimal", "float", "int", "str", "timedelta", "tuple")
)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A class as ``dataclass(frozen=True, slots=True)`` would make it, in msgspec's way.

    Some forty such objects are created for each deal, in a third of the time that dataclasses take, most of them
    without the garbage collector's knowledge. As JSON they leave out what has its default value: never change a default
    of what is stored, rows of before mean the old one.
    """
    namespace = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    fields = {name: given for name, given in namespace.items() if isinstance(given, dataclasses.Field)}
    for name, given in fields.items():
        if given.default_factory is not MISSING:
            namespace[name] = msgspec.field(default_factory=given.default_factory)
        elif given.default is not MISSING:
            namespace[name] = given.default
        else:
            del namespace[name]
    hidden = {name for name, given in fields.items() if not given.repr}
    if hidden:
        namespace["__repr__"] = _repr_without(hidden)
        namespace["__rich_repr__"] = None
    is_plain = cls.__bases__ == (object,) and _is_plain(cls)
    bases = tuple(base for base in cls.__bases__ if base is not object)
    if not any(issubclass(base, msgspec.Struct) for base in bases):
        bases = (msgspec.Struct, *bases)
    made: type[T] = _META(cls.__name__, bases, namespace, frozen=True, omit_defaults=True, gc=not is_plain)
    return made


def _is_plain(cls: type) -> bool:
    """Whether nothing it holds can ever lead back to it: then the garbage collector need not know of its objects.

    That is so where its fields are texts, numbers, times, enums, other such values, and tuples of them, by the words
    of their types.
    """
    scope = vars(sys.modules[cls.__module__])
    types = [told if isinstance(told, str) else "?" for told in get_annotations(cls).values()]
    words = {word for told in types for word in _WORD.findall(told) or ("",)}
    return all(word in _PLAIN or _is_plain_class(scope.get(word)) for word in words)


def _is_plain_class(found: object) -> bool:
    if isinstance(found, _META):
        return not found.__struct_config__.gc
    return isinstance(found, type) and issubclass(found, Enum)


def _repr_without(hidden: set[str]) -> Any:
    def text(self: Any) -> str:
        shown = [name for name in self.__struct_fields__ if name not in hidden]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    return text
