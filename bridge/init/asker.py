"""Questions on a terminal, or none at all. Questions go to standard error, so that standard output stays clean."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

import typer

from bridge.terminal import err


class Asker(Protocol):
    """Whoever can be asked. ``is_there`` is False where nobody is: then nothing else here is called."""

    is_there: bool

    def text(self, question: str, default: str = "") -> str:
        """A line; never empty unless ``default`` is given and nothing is typed."""
        ...

    def maybe(self, question: str) -> str:
        """A line that may be empty."""
        ...

    def secret(self, question: str) -> str:
        """A line that is not shown; it may be empty."""
        ...

    def one_of(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """One of the keys; the values explain them."""
        ...

    def many_of(self, question: str, choices: Mapping[str, str], default: Sequence[str]) -> list[str]:
        """Some of the keys, or none."""
        ...

    def tell(self, text: str) -> None:
        """Something to read before the next question."""
        ...


class Nobody:
    """No terminal: what is missing is an error elsewhere."""

    is_there = False

    def text(self, question: str, default: str = "") -> str:
        raise AssertionError(question)

    def maybe(self, question: str) -> str:
        raise AssertionError(question)

    def secret(self, question: str) -> str:
        raise AssertionError(question)

    def one_of(self, question: str, choices: Mapping[str, str], default: str) -> str:
        raise AssertionError(question)

    def many_of(self, question: str, choices: Mapping[str, str], default: Sequence[str]) -> list[str]:
        raise AssertionError(question)

    def tell(self, text: str) -> None:
        """Nobody reads it."""


class Terminal:
    """A person at a terminal. Choices are numbered from 1 and may be typed as numbers or as what they are."""

    is_there = True

    def text(self, question: str, default: str = "") -> str:
        answer: str = typer.prompt(question, default=default or None, err=True)
        return answer.strip()

    def maybe(self, question: str) -> str:
        answer: str = typer.prompt(question, default="", show_default=False, err=True)
        return answer.strip()

    def secret(self, question: str) -> str:
        answer: str = typer.prompt(question, default="", show_default=False, hide_input=True, err=True)
        return answer.strip()

    def one_of(self, question: str, choices: Mapping[str, str], default: str) -> str:
        self._list(choices)
        while True:
            found = _chosen(self.text(question, _number(choices, default)), choices)
            if len(found) == 1:
                return found[0]
            self.tell(f"Type one number from 1 to {len(choices)}.")

    def many_of(self, question: str, choices: Mapping[str, str], default: Sequence[str]) -> list[str]:
        self._list(choices)
        shown = " ".join(_number(choices, key) for key in default) or "-"
        while True:
            answer = self.text(f"{question} (numbers, or - for none)", shown)
            if answer == "-":
                return []
            found = _chosen(answer, choices)
            if found:
                return found
            self.tell(f"Type numbers from 1 to {len(choices)}, or -.")

    def tell(self, text: str) -> None:
        err.print(text, markup=False, soft_wrap=True)

    def _list(self, choices: Mapping[str, str]) -> None:
        for number, (key, text) in enumerate(choices.items(), start=1):
            self.tell(f"  {number:>2}  {key}{'  ' + text if text else ''}")


def _number(choices: Mapping[str, str], key: str) -> str:
    return str([*choices].index(key) + 1) if key in choices else ""


def _chosen(answer: str, choices: Mapping[str, str]) -> list[str]:
    """What an answer means; empty when some part of it means nothing."""
    keys = [*choices]
    if answer in choices:
        return [answer]
    found = []
    for part in answer.replace(",", " ").split():
        if part in choices:
            found.append(part)
        elif part.isascii() and part.isdigit() and 1 <= int(part) <= len(keys):
            found.append(keys[int(part) - 1])
        else:
            return []
    return list(dict.fromkeys(found))


def asker(may_ask: bool) -> Asker:
    """Who can be asked: a person, if both ends of the terminal are there and asking is wanted."""
    return Terminal() if may_ask and sys.stdin.isatty() and sys.stderr.isatty() else Nobody()
