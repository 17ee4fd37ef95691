"""Methods of a simulated portal: parameters as PHP reads them, ``batch`` with its references, errors in its words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from adapters.bitrix24 import fake_query as query
from adapters.bitrix24.fake_data import Bill, Entry, PortalData
from adapters.bitrix24.fake_query import RestError
from adapters.bitrix24.fake_rows import RowDesk
from adapters.bitrix24.fake_schema import CONTACT, DEAL, ITEM, KINDS, LEAD, MULTI, CustomField, Schema, item_name
from adapters.bitrix24.fake_writes import WriteDesk
from bridge.frozen import frozen

_BRACKETS = re.compile(r"\[([^\]]*)\]")
_REFERENCE = re.compile(r"\$(result|error|total|next)((?:\[[^\]]*\])+)")
_COMMANDS_MAX = 50


@frozen
class Reply:
    """A method's result; ``total`` and ``next`` only of lists."""

    result: Any
    total: int | None = None
    next: int | None = None


# --- parameters --------------------------------------------------------------------------------------------------


def parse_pairs(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """PHP's reading of ``a[b][]=c``: nested maps; a map whose keys are 0..n is a list."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        head, _, tail = name.partition("[")
        path = [head, *_BRACKETS.findall(f"[{tail}")] if tail else [head]
        node = root
        for part in path[:-1]:
            child = node.setdefault(part or str(len(node)), {})
            if not isinstance(child, dict):
                child = node[part] = {}
            node = child
        node[path[-1] or str(len(node))] = value
    return {name: as_php(value) for name, value in root.items()}


def as_php(value: Any) -> Any:
    """Maps as PHP's JSON shows them: with keys 0..n, and when empty, a list (contract 7)."""
    if not isinstance(value, dict):
        return value
    items = {key: as_php(item) for key, item in value.items()}
    return list(items.values()) if list(items) == [str(index) for index in range(len(items))] else items


def map_of(value: dict[str, Any]) -> Any:
    """One map, not looking inside."""
    return list(value.values()) if list(value) == [str(index) for index in range(len(value))] else value


@lru_cache(maxsize=4096)  # chains of pages ask the same, but for the first
def parse_query(text: str) -> dict[str, Any]:
    """A command's query. Shared: nobody may change it."""
    return parse_pairs(parse_qsl(text, keep_blank_values=True))


def param(params: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """A parameter, also in upper case (contract 3.1)."""
    return params[name] if name in params else params.get(name.upper(), default)


# --- methods -----------------------------------------------------------------------------------------------------


class Methods:
    """Everything a webhook may call. ``now`` tells the server's time."""

    def __init__(self, data: PortalData, now: Callable[[], datetime], *, mode: str, scopes: tuple[str, ...]) -> None:
        self.data = data
        self._now = now
        self._mode = mode
        self._scopes = scopes
        self.writes = WriteDesk(data, now)
        self.rows = RowDesk(data)
        self.time_zone = ""  # of the webhook's owner
        self.is_admin = True
        self.closed: set[str] = set()  # entities the webhook's owner may not read
        self.closed_payments: set[int] = set()  # deals whose payments that one may not read
        self._lists = {kind: query.Lists(table, data.zone) for kind, table in data.tables.items()}
        self._table: dict[str, Callable[[Mapping[str, Any]], Reply]] = {
            "profile": self._profile,
            "scope": lambda _: Reply(list(self._scopes)),
            "server.time": lambda _: Reply(self._stamp()),
            "user.admin": lambda _: Reply(self.is_admin),
            "method.get": self._method_get,
            "app.info": lambda _: Reply({"SCOPE": list(self._scopes), "LICENSE": "ru_pro100"}),
            "crm.settings.mode.get": lambda _: Reply(1 if self._mode == "classic" else 2),
            "crm.status.list": self._status_list,
            "crm.category.list": self._category_list,
            "crm.stagehistory.list": self._history_list,
            "crm.item.list": self._item_list,
            "crm.item.get": self._item_get,
            "crm.item.update": self._item_update,
            "crm.item.fields": self._item_fields,
            "crm.item.payment.list": self._payment_list,
            "crm.item.productrow.list": self._row_list,
            "crm.currency.list": lambda _: Reply([_rouble(self._stamp())], 0),
            "crm.currency.base.get": lambda _: Reply("RUB"),
        }
        for kind in (LEAD, DEAL, CONTACT):
            self._table[f"crm.{kind}.list"] = partial(self._list, kind)
            self._table[f"crm.{kind}.get"] = partial(self._get, kind)
            self._table[f"crm.{kind}.fields"] = partial(self._classic_fields, kind)

    def call(self, name: str, params: Mapping[str, Any]) -> Reply:
        """Run a method.

        Raises:
            RestError: as the portal refuses.
        """
        method = self._table.get(name)
        if method is None:
            if name.startswith(("event.", "placement.", "feature.")) or name == "events":
                raise RestError("WRONG_AUTH_TYPE", "Current authorization type is denied for this method", 403)
            raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", 404)
        if name.startswith("crm.") and "crm" not in self._scopes:
            text = "The request requires higher privileges than provided by the webhook token"
            raise RestError("insufficient_scope", text, 401)
        return method(params)

    def is_known(self, name: str) -> bool:
        return name in self._table or name == "batch"

    def _stamp(self) -> str:
        return self.data.stamp(int(self._now().timestamp()))

    def _schema(self, kind: str) -> Schema:
        return self.data.tables[kind].schema

    # --- connection ---

    def _profile(self, _: Mapping[str, Any]) -> Reply:
        names = {"NAME": "Анна", "LAST_NAME": "Ким", "PERSONAL_GENDER": "F"}
        return Reply({"ID": str(self.data.user), "ADMIN": self.is_admin, **names, "TIME_ZONE": self.time_zone})

    def _method_get(self, params: Mapping[str, Any]) -> Reply:
        is_there = self.is_known(str(param(params, "name", "")).lower())
        return Reply({"isExisting": is_there, "isAvailable": is_there})

    # --- directories ---

    def _status_list(self, params: Mapping[str, Any]) -> Reply:
        types = dict.fromkeys(("ENTITY_ID", "STATUS_ID", "NAME", "SEMANTICS"), "text") | {
            "ID": "id",
            "CATEGORY_ID": "id",
        }
        wanted = query.conditions(types, param(params, "filter"), self.data.zone, is_strict=False)
        rows = [status.as_row(200 + index, 10 * index) for index, status in enumerate(self.data.statuses)]
        found = [row for row in rows if _fits(wanted, types, row, self.data)]
        page = query.cut(found, max(0, query.php_int(param(params, "start", 0) or 0)))
        return Reply(page.records, page.total, page.next)

    def _category_list(self, params: Mapping[str, Any]) -> Reply:
        type_id = query.php_int(param(params, "entityTypeId", 0))
        known = self.data.categories.get(self._known(type_id))
        if known is None:
            raise RestError("ENTITY_TYPE_NOT_SUPPORTED", "Entity type is not supported")
        first = next(iter(known))
        rows = [
            {"id": number, "name": name, "sort": 300, "entityTypeId": type_id, "isDefault": "NY"[number == first]}
            for number, name in known.items()
        ]
        return Reply({"categories": rows}, len(rows))

    # --- classic lists ---

    def _list(self, kind: str, params: Mapping[str, Any]) -> Reply:
        schema = self._schema(kind)
        types = schema.types if kind == DEAL else {**schema.types, **dict.fromkeys(MULTI, "text")}
        wanted = query.conditions(types, param(params, "filter"), self.data.zone, is_strict=False)
        start = query.php_int(param(params, "start", 0) or 0)
        start = start if start < 0 else start // query.PAGE * query.PAGE
        order = _order(schema.types, param(params, "order"), is_strict=False)
        page = self._lists[kind].page(query.Query(wanted, order, start))
        select = param(params, "select")
        select = list(select.values()) if isinstance(select, dict) else select if isinstance(select, list) else None
        multi = [name for name in MULTI if kind != DEAL and name in (select or ())]
        return Reply(query.classic_rows(schema, page.records, schema.selected(select), multi), page.total, page.next)

    def _get(self, kind: str, params: Mapping[str, Any]) -> Reply:
        number = query.php_int(params.get("id", params.get("ID", 0)))
        if number <= 0:
            raise RestError("", "ID is not defined or invalid.")
        record = self.data.tables[kind].records.get(number)
        if record is None:
            raise RestError("", "Not found")
        if number in self.data.tables[kind].hidden:
            raise RestError("", "Access denied")
        return Reply(query.classic_record(self._schema(kind), record))

    def _classic_fields(self, kind: str, _: Mapping[str, Any]) -> Reply:
        return Reply(_fields(self._schema(kind)))

    # --- universal lists ---

    def _known(self, type_id: int) -> str:
        """The entity with this entityTypeId, "" if there is none."""
        kind = KINDS.get(type_id, f"{ITEM}:{type_id}")
        return kind if kind in self.data.tables else ""

    def _kind(self, params: Mapping[str, Any]) -> str:
        kind = self._known(query.php_int(param(params, "entityTypeId", 0)))
        if not kind:
            raise RestError("NOT_FOUND", "Smart process not found")
        if kind in self.closed:
            raise RestError("ACCESS_DENIED", "Доступ запрещен")
        return kind

    def _payment_list(self, params: Mapping[str, Any]) -> Reply:
        """A plain array without a count (contract 4.4); owners other than deals have none here."""
        type_id, owner = (query.php_int(param(params, name, 0)) for name in ("entityTypeId", "entityId"))
        if KINDS.get(type_id) != DEAL:
            return Reply([])
        if owner not in self.data.tables[DEAL].records:
            raise RestError("NOT_FOUND", "Элемент не найден")
        if owner in self.closed_payments:
            raise RestError("ACCESS_DENIED", "Доступ запрещен")
        return Reply([_bill(self.data.bills[number], self.data) for number in self.data.billed.get(owner, ())])

    def _row_list(self, params: Mapping[str, Any]) -> Reply:
        page = self.rows.page(params)
        return Reply({"productRows": page.records}, page.total, page.next)

    def _item_list(self, params: Mapping[str, Any]) -> Reply:
        kind = self._kind(params)
        schema, is_original = self._schema(kind), str(params.get("useOriginalUfNames", "N")) in ("Y", "1", "True")
        names = {item_name(code, is_original): code for code in schema.types}
        wanted = query.conditions(schema.types, param(params, "filter"), self.data.zone, is_strict=True, names=names)
        order = _order(schema.types, param(params, "order"), is_strict=True, names=names)
        page = self._lists[kind].page(query.Query(wanted, order, query.php_int(param(params, "start", 0) or 0)))
        select = param(params, "select") or ["*"]
        items = [_item(schema, record, select, names) for record in page.records]
        return Reply({"items": items}, page.total, page.next)

    def _item_get(self, params: Mapping[str, Any]) -> Reply:
        kind = self._kind(params)
        record = self.data.tables[kind].records.get(query.php_int(param(params, "id", 0)))
        if record is None:
            raise RestError("NOT_FOUND", "Элемент не найден")
        if record.id in self.data.tables[kind].hidden:
            raise RestError("ACCESS_DENIED", "Доступ запрещён")
        is_original = str(params.get("useOriginalUfNames", "N")) in ("Y", "1")
        names = {item_name(code, is_original): code for code in self._schema(kind).types}
        return Reply({"item": _item(self._schema(kind), record, ["*"], names)})

    def _item_update(self, params: Mapping[str, Any]) -> Reply:
        """The answer is the whole record (contract 11)."""
        number = query.php_int(param(params, "id", 0))
        is_original = str(params.get("useOriginalUfNames", "N")) in ("Y", "1")
        self.writes.update(self._kind(params), number, param(params, "fields"), is_original=is_original)
        return self._item_get(params)

    def _item_fields(self, params: Mapping[str, Any]) -> Reply:
        schema, is_original = self._schema(self._kind(params)), str(params.get("useOriginalUfNames", "N")) in ("Y", "1")
        fields = {item_name(code, is_original): {**info, "upperName": code} for code, info in _fields(schema).items()}
        return Reply({"fields": fields})

    # --- history ---

    def _history_list(self, params: Mapping[str, Any]) -> Reply:
        kind = self._known(query.php_int(param(params, "entityTypeId", 0)))
        if kind not in self.data.history:
            raise RestError("ENTITY_TYPE_NOT_SUPPORTED", "Entity type is not supported")
        prefix = "STATUS" if kind == LEAD else "STAGE"
        types = dict.fromkeys(("ID", "TYPE_ID", "OWNER_ID", "CATEGORY_ID"), "id") | {"CREATED_TIME": "time"}
        types |= {f"{prefix}_ID": "text", f"{prefix}_SEMANTIC_ID": "text"}
        wanted = query.conditions(
            types, param(params, "filter"), self.data.zone, is_strict=True, names={n: n for n in types}
        )
        entries = self._entries(kind, wanted, types, prefix)
        if _order(types, param(params, "order"), is_strict=True, names={n: n for n in types}) == (("ID", False),):
            entries.reverse()
        start = query.php_int(param(params, "start", 0) or 0)
        page = query.Page(entries[: query.PAGE], 0) if start < 0 else query.cut(entries, start)
        items = [_entry(entry, prefix, self.data) for entry in page.records]
        return Reply({"items": items}, page.total, page.next)

    def _entries(self, kind: str, wanted: list[query.Condition], types: Mapping[str, str], prefix: str) -> list[Entry]:
        """Visible entries that fit, by id; found by owner where owners are given."""
        history = self.data.history[kind]
        owners = next((item.values for item in wanted if item.field == "OWNER_ID" and item.operator in "=@"), None)
        known: Sequence[Entry] = history.entries
        if owners is not None:
            known = sorted(entry for owner in set(owners) for entry in history.by_owner.get(owner, ()))
            wanted = [item for item in wanted if item.field != "OWNER_ID"]
        visible = self.data.visible(kind, known)
        if not wanted:
            return list(visible)
        if all(item.field == "ID" and item.operator == ">" for item in wanted):
            after = max(item.values[0] for item in wanted)
            return [entry for entry in visible if entry.id > after]
        return [e for e in visible if _fits(wanted, types, _entry(e, prefix, self.data), self.data)]


def _fits(wanted: list[query.Condition], types: Mapping[str, str], row: Mapping[str, Any], data: PortalData) -> bool:
    return all(item.holds(query.typed(types[item.field], row.get(item.field), data.zone)) for item in wanted)


def _order(
    types: Mapping[str, str], wanted: Any, *, is_strict: bool, names: Mapping[str, str] | None = None
) -> tuple[tuple[str, bool], ...]:
    if wanted in (None, [], ""):
        return ()
    if not isinstance(wanted, Mapping):
        raise RestError("", "Parameter 'order' must be array.")
    order = []
    for key, direction in wanted.items():
        # universal lists take ID as well as id: other clients send the classic name to every list
        name = key if names is None else names.get(key, names.get(str(key).lower(), ""))
        if name in types:
            order.append((name, str(direction).upper() != "DESC"))
        elif is_strict:
            raise RestError("INVALID_ARG_VALUE", f"Invalid order: field '{key}' is not allowed in order")
    return tuple(order)


def _entry(entry: Entry, prefix: str, data: PortalData) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ID": entry.id,
        "TYPE_ID": entry.type,
        "OWNER_ID": entry.owner,
        "CREATED_TIME": data.stamp(entry.at),
    }
    if prefix == "STAGE":
        row["CATEGORY_ID"] = entry.category
    row[f"{prefix}_SEMANTIC_ID"] = entry.semantics
    row[f"{prefix}_ID"] = entry.stage
    return row


def _bill(bill: Bill, data: PortalData) -> dict[str, Any]:
    at = bill.paid_at
    row = {"id": bill.id, "accountNumber": f"{bill.deal}/{bill.id}", "paid": "N" if at is None else "Y"}
    row |= {"datePaid": None if at is None else data.stamp(at), "empPaidId": None if at is None else data.user}
    amount = query.item_value("money", bill.amount)
    return {**row, "paySystemId": 6, "sum": amount, "currency": bill.currency, "paySystemName": "Card"}


def _item(schema: Schema, record: Any, select: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """A record as ``crm.item.*`` shows it; ``fm`` only with ``*`` (contract 3.1)."""
    is_all = "*" in select
    wanted = names if is_all else {name: names[name] for name in select if name in names}
    row = {
        name: query.item_value(schema.types[code], record.row.get(code, schema.empty[code]))
        for name, code in wanted.items()
    }
    if is_all and schema.kind in (LEAD, CONTACT):
        multi = [item for name in record.multi for item in record.multi_rows(name)]
        keys = {"id": "ID", "valueType": "VALUE_TYPE", "value": "VALUE", "typeId": "TYPE_ID"}
        row["fm"] = [{new: int(m[old]) if new == "id" else m[old] for new, old in keys.items()} for m in multi]
    return row


def _fields(schema: Schema) -> dict[str, Any]:
    """As ``crm.*.fields``: labels only of custom fields, whose title is the code (contract 4.3)."""
    return {code: _field(code, type_, schema.custom.get(code)) for code, type_ in schema.types.items()}


def _field(code: str, type_: str, custom: CustomField | None) -> dict[str, Any]:
    types = {"time": "datetime", "text": "string", "money": "double", "id": "integer", "stage": "crm_status"}
    info: dict[str, Any] = {"isRequired": False, "isReadOnly": False, "isImmutable": False}
    if custom is None:
        return {"type": types.get(type_, type_), **info, "isMultiple": False, "isDynamic": False, "title": code}
    labels = dict.fromkeys(("listLabel", "formLabel", "filterLabel"), custom.label)
    info |= {"type": custom.type, "isMultiple": custom.is_multiple, "isDynamic": True, "title": code, **labels}
    if custom.items:
        info["items"] = [{"ID": number, "VALUE": value} for number, value in custom.items.items()]
    return info


def _rouble(stamp: str) -> dict[str, Any]:
    """All numbers are text (contract 12)."""
    texts = {"AMOUNT_CNT": "1", "AMOUNT": "1.0000", "SORT": "100", "BASE": "Y", "FULL_NAME": "Российский рубль"}
    form = {"FORMAT_STRING": "# ₽", "DEC_POINT": ".", "THOUSANDS_SEP": None, "DECIMALS": "2"}
    return {"CURRENCY": "RUB", **texts, "LID": "ru", **form, "DATE_UPDATE": stamp}


# --- batch -------------------------------------------------------------------------------------------------------


class BatchRun:
    """One ``batch``: commands in order, each able to refer to results before it (contract 7)."""

    def __init__(self, call: Callable[[str, Mapping[str, Any]], tuple[Reply, dict[str, Any]]]) -> None:
        """``call`` runs one method (accounted on its own) and returns its reply and time."""
        self._call = call
        parts = ("result", "result_error", "result_total", "result_next", "result_time")
        self.parts: dict[str, dict[str, Any]] = {name: {} for name in parts}

    def run(self, params: Mapping[str, Any]) -> Any:
        """The inside of the answer. ``halt`` stops at the first error; later commands leave no keys."""
        commands = param(params, "cmd", {})
        if isinstance(commands, list):
            commands = {str(index): command for index, command in enumerate(commands)}
        halt = str(param(params, "halt", 0)).lower() in ("1", "true")
        for index, (key, command) in enumerate((commands or {}).items()):
            if not isinstance(command, str):
                continue
            try:
                if index >= _COMMANDS_MAX:
                    raise RestError("ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
                self._one(str(key), command)
            except RestError as error:
                self.parts["result_error"][str(key)] = {"error": error.code, "error_description": error.text}
                if halt:
                    break
        return {name: map_of(part) for name, part in self.parts.items()}

    def _one(self, key: str, command: str) -> None:
        name, _, text = command.partition("?")
        name = name.strip().lower().removesuffix(".json")
        if name == "batch":
            raise RestError("ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
        reply, time = self._call(name, {k: self._resolved(v) for k, v in parse_query(text).items()})
        self.parts["result"][key] = reply.result
        self.parts["result_time"][key] = time
        if reply.total is not None:
            self.parts["result_total"][key] = reply.total
        if reply.next is not None:
            self.parts["result_next"][key] = reply.next

    def _resolved(self, value: Any) -> Any:
        """References replaced: alone by whatever is there, inside a text only by scalars."""
        if isinstance(value, dict):
            return {key: self._resolved(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._resolved(item) for item in value]
        if "$" not in value:
            return value
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return self._follow(whole)
        return _REFERENCE.sub(self._scalar, value)

    def _scalar(self, match: re.Match[str]) -> str:
        found = self._follow(match)
        return match[0] if isinstance(found, list | dict) else str(found)

    def _follow(self, match: re.Match[str]) -> Any:
        """A path that cannot be followed stops at the last level there is."""
        node: Any = self.parts["result" if match[1] == "result" else f"result_{match[1]}"]
        for step in _BRACKETS.findall(match[2]):
            node = _opened(node)
            if isinstance(node, dict) and step in node:
                node = node[step]
            elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
                node = node[int(step)]
            else:
                break
        return _opened(node)


def _opened(node: Any) -> Any:
    """Rows are kept as JSON."""
    return msgspec.json.decode(node) if isinstance(node, msgspec.Raw) else node
