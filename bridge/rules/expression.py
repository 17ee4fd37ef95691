"""CEL expressions over a deal: conditions (true or false) and values (a number). Pure and sandboxed.

Variables, all under ``deal``:

===================  ==========  ================================================================================
``value``            double      in whole units of ``currency``; null when the CRM gives none
``currency``         string      ISO 4217, "" without a value
``kind``             string      "lead" or "deal"
``stage``            string      the stage's name where the source knows names, else its id; ``stage_id`` is the id
``pipeline``         string      likewise; ``pipeline_id`` is the id
``outcome``          string      "open", "won" or "lost"
``loss_reason``      string      its name, "" when none
``origin``           string      the CRM's own source of the lead, "" when none
``tags``             list        of strings
``fields``           map         custom field (name, code or id) -> its text; several values are joined by ", "
``created_at``       timestamp   also ``updated_at`` and ``closed_at`` (null while open)
``products``         list        product rows as maps: ``id``, ``name`` (strings), ``price`` of one piece in whole
                                 units, ``quantity`` (doubles); empty where none are read
===================  ==========  ================================================================================

The value of a goal per payment also sees ``payment``: ``value`` (double, whole units of ``currency``), ``currency``,
``paid_at`` and ``id``.

Beside CEL's own functions there are ``number(text)``: "30 000,50 ₽" -> 30000.5, null when it is no number; and
``sum(list)`` of numbers.
CEL does not mix whole and decimal numbers; where an expression fails for that, it is tried once more with its whole
numbers read as decimals, so ``deal.value * 2`` works like ``deal.value * 2.0``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from bridge.frozen import frozen
from bridge.model import Deal, DealKind, Payment
from bridge.products import Product
from bridge.rules.names import meant
from bridge.rules.value import number

if TYPE_CHECKING:
    import cel

_TOKENS = re.compile(r"(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')|(?<![\w.\[])([0-9]+)(?![\w.\]])")
_PAYMENT = {"value": 1000.0, "currency": "1", "paid_at": datetime(2026, 1, 1, tzinfo=UTC), "id": "1"}  # invented
_FIELD = re.compile(r"fields\s*\[\s*(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')\s*\]")


class ExpressionError(ValueError):
    """An expression cannot be evaluated. The message names types and names, never a deal's values.

    ``is_certain``: it would fail on any deal (unknown names, types that do not go together).
    """

    def __init__(self, message: str, *, is_certain: bool = False) -> None:
        super().__init__(message)
        self.is_certain = is_certain


@frozen
class Labels:
    """Names of pipelines and stages by (kind, pipeline id) and (kind, pipeline id, stage id)."""

    pipelines: Mapping[tuple[str, str], str] = field(default_factory=dict)
    stages: Mapping[tuple[str, str, str], str] = field(default_factory=dict)


@frozen
class Expression:
    """A compiled expression, and the same with whole numbers as decimals where that differs.

    ``is_per_payment``: it sees a payment beside the deal.
    """

    text: str
    labels: Labels
    _plain: cel.Program
    _decimal: cel.Program | None
    is_per_payment: bool = False

    @classmethod
    def compile(cls, text: str, labels: Labels, *, is_per_payment: bool = False) -> Expression:
        """Parse, and try on an invented deal (and payment) so that misspelt names show at once.

        Raises:
            ExpressionError: no valid CEL, an unknown variable or function, or types that do not go together.
        """
        promoted = _TOKENS.sub(lambda token: token[1] or f"{token[2]}.0", text)
        built = cls(text, labels, _parse(text), _parse(promoted) if promoted != text else None, is_per_payment)
        built.example()
        return built

    def example(self) -> object:
        """The result for an invented deal; None where only a real deal can tell."""
        try:
            return self._execute(_example(self.text), _PAYMENT if self.is_per_payment else None)
        except ExpressionError as error:
            if error.is_certain:
                raise
            return None

    def of(self, deal: Deal, payment: Payment | None = None) -> object:
        """The expression's result for this deal and, of a goal per payment, this payment.

        Raises:
            ExpressionError: a missing field, a wrong type, a division by zero.
        """
        return self._execute(_variables(deal, self.labels), None if payment is None else _paid(payment))

    def _execute(self, deal: Mapping[str, object], payment: Mapping[str, object] | None) -> object:
        variables = {"deal": dict(deal), **({} if payment is None else {"payment": dict(payment)})}
        context = _cel().Context(variables, functions={"number": _number, "sum": _sum})
        try:
            return self._plain.execute(context)
        except Exception as error:  # the CEL library raises many built-in classes
            if self._decimal is None or not isinstance(error, TypeError):
                raise _failed(error, self.text) from None
        try:
            return self._decimal.execute(context)
        except Exception as error:  # as above
            raise _failed(error, self.text) from None


@cache
def _cel() -> ModuleType:
    """The library brings a command line of its own along, which takes long to import; most tenants need neither."""
    return importlib.import_module("cel")


def _parse(text: str) -> cel.Program:
    try:
        program: cel.Program = _cel().compile(text)
    except Exception as error:  # the CEL library raises many built-in classes
        detail = str(error).partition("ERROR: ")[2].partition("\n")[0] or type(error).__name__
        raise ExpressionError(f"is no valid CEL: {detail.removeprefix('<input>:')}", is_certain=True) from None
    return program


def _failed(error: Exception, text: str) -> ExpressionError:
    """What went wrong, in the words of the library where they hold types and names only."""
    if isinstance(error, KeyError):
        name = str(error.args[0]) if error.args else ""
        is_written = bool(name) and name in text
        told = f'there is no "{name}"{meant(name, _example(""))}' if is_written else "a key is missing"
        return ExpressionError(told, is_certain=is_written)
    told = str(error).partition(". ")[0].removesuffix(".")
    if isinstance(error, TypeError):
        return ExpressionError(told, is_certain=True)
    if isinstance(error, RuntimeError):
        return ExpressionError(told, is_certain=told.startswith("Undefined"))
    return ExpressionError("division by zero" if isinstance(error, ZeroDivisionError) else type(error).__name__)


def _number(value: object) -> float | None:
    if isinstance(value, str):
        parsed = number(value)
        return None if parsed is None else float(parsed)
    return float(value) if isinstance(value, int | float) else None


def _sum(values: object) -> float:
    if not isinstance(values, list) or not all(isinstance(one, int | float) for one in values):
        raise TypeError("sum wants a list of numbers")
    return float(sum(values))


def _variables(deal: Deal, labels: Labels) -> dict[str, object]:
    kind = deal.kind.value
    return {
        "value": None if deal.value is None else float(deal.value.amount),
        "currency": "" if deal.value is None else deal.value.currency,
        "kind": kind,
        "stage": labels.stages.get((kind, deal.pipeline, deal.stage), deal.stage),
        "stage_id": deal.stage,
        "pipeline": labels.pipelines.get((kind, deal.pipeline), deal.pipeline),
        "pipeline_id": deal.pipeline,
        "outcome": deal.outcome.value,
        "loss_reason": deal.loss_reason[1] if deal.loss_reason else "",
        "origin": deal.origin[1] if deal.origin else "",
        "tags": list(deal.tags),
        "fields": {name: ", ".join(values) for name, values in deal.fields.items()},
        "created_at": deal.created_at,
        "updated_at": deal.updated_at,
        "closed_at": deal.closed_at,
        "products": [_product(row) for row in deal.products or ()],
    }


def _product(row: Product) -> dict[str, object]:
    return {"id": row.id, "name": row.name, "price": float(row.price), "quantity": float(row.quantity)}


def _paid(payment: Payment) -> dict[str, object]:
    amount, currency = float(payment.value.amount), payment.value.currency
    return {"value": amount, "currency": currency, "paid_at": payment.paid_at, "id": payment.id}


def _example(text: str) -> dict[str, object]:
    """Variables of an invented deal that has every custom field the expression names."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    names = [literal[1:-1] for literal in _FIELD.findall(text)]
    return {
        **dict.fromkeys(("currency", "stage", "stage_id", "pipeline", "pipeline_id", "loss_reason", "origin"), "1"),
        **dict.fromkeys(("created_at", "updated_at", "closed_at"), at),
        "value": 1000.0,
        "kind": DealKind.DEAL.value,
        "outcome": "open",
        "tags": ["1"],
        "fields": dict.fromkeys(names, "1"),
        "products": [{"id": "1", "name": "1", "price": 1000.0, "quantity": 1.0}],
    }
