"""The same job with dlt: its REST source over leads, contacts and events, its custom destination uploading to Metrica.

Set up the way that is fastest for dlt: no child tables, no type inference of nested values, large batches. It gets an
easier job than the bridge: a lead is judged by the stage it stands in now.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.bench import child
from tests.bench.child import Watch, library
from tests.bench.floor import TARGETS, csv_of, identifiers

_BATCH = 10_000
_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "CRITICAL",
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
}


def _source(told: dict[str, Any]) -> Any:
    def resource(name: str, limit: int, **params: Any) -> dict[str, Any]:
        return {
            "name": name,
            "max_table_nesting": 0,
            "endpoint": {
                "path": name,
                "params": {"limit": limit, **params},
                "data_selector": f"_embedded.{name}",
                "paginator": {"type": "json_link", "next_url_path": "_links.next.href"},
            },
        }

    leads = resource("leads", 250, **{"with": "contacts,loss_reason,source", "order[updated_at]": "asc"})
    contacts = resource("contacts", 250)
    events = resource("events", 100, **{"filter[type][]": "lead_status_changed", "filter[entity]": "lead"})
    return library("dlt.sources.rest_api").rest_api_source(
        {
            "client": {
                "base_url": f"{told['crm']}/api/v4/",
                "auth": {"type": "bearer", "token": told["crm_secret"]},
            },
            "resources": [leads] if told.get("is_leads_only") else [leads, contacts, events],
        },
        max_table_nesting=0,
    )


class _Upload:
    """What dlt calls with each batch of a table; only leads become conversions."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self._session = library("requests").Session()
        self.leads = self.sent = 0

    def take(self, items: list[dict[str, Any]], table: Any) -> None:
        if table["name"] != "leads":
            return
        self.leads += len(items)
        rows = [row for item in items for row in _rows(item)]
        if rows:
            answer = self._session.post(
                self._told["metrica"] + "/offline_conversions/upload?type=BASIC",
                files={"file": ("conversions.csv", csv_of(rows), "text/csv")},
                headers={"Authorization": f"OAuth {self._told['metrica_token']}"},
                timeout=300,
            )
            answer.raise_for_status()
            self.sent += len(rows)


def _rows(item: dict[str, Any]) -> list[tuple[Any, ...]]:
    fields = {(f.get("field_code") or f.get("field_name")): f["values"] for f in item.get("custom_fields_values") or ()}
    found = {name: values[0].get("value") for name, values in fields.items()}
    yclid, client = identifiers(found)
    target = TARGETS.get(item["status_id"])
    if target is None or not (yclid or client):
        return []
    return [(yclid, client, target, item["updated_at"], item.get("price") or 0)]


def main(told: dict[str, Any], watch: Watch) -> None:
    """Extract, normalize, load."""
    os.environ.update(_SETTINGS)  # read when it is imported
    dlt = library("dlt")
    upload = _Upload(told)

    def receive(items: Any, table: Any) -> None:
        upload.take(items, table)

    metrica = dlt.destination(
        receive, name="metrica", batch_size=_BATCH, naming_convention="direct", max_table_nesting=0
    )
    folder = Path(told["config"]).parent
    pipeline = dlt.pipeline("bench", pipelines_dir=str(folder / "dlt"), destination=metrica, dataset_name="bench")
    source = _source(told)
    watch.start()
    pipeline.run(source)
    watch.stop()
    child.report(watch, upload.leads, done={"accepted": upload.sent})


if __name__ == "__main__":
    main(child.arguments(), Watch())
