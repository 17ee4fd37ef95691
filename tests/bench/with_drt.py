"""drt (``drt-core``) on the same rows: a SQLite table, one sync, the state it keeps by itself."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench import child
from tests.bench.child import Watch, library

_TARGET = "qualified_lead"
_FIRST_YCLID = 6_568_389_783_225_203_569
_BOUNDARY = "drt-bench"
_BATCH = 10_000
_CRLF = '{{ "\\r\\n" }}'  # Jinja makes a bare line feed of every line end outside of expressions
# Metrica's file, in the words of a drt user: one template for a batch.
_TEMPLATE = (
    f'--{_BOUNDARY}{_CRLF}Content-Disposition: form-data; name="file"; filename="conversions.csv"{_CRLF}'
    f"Content-Type: text/csv; charset=utf-8{_CRLF}{_CRLF}Yclid,Target,DateTime,Price,Currency\n"
    "{% for row in rows %}{{ row.yclid }},{{ row.target }},{{ row.at }},,\n{% endfor %}"
    f"{_CRLF}--{_BOUNDARY}--{_CRLF}"
)


def _database(told: dict[str, Any]) -> Path:
    return Path(told["config"]).with_name("warehouse.db")


def prepare(told: dict[str, Any]) -> None:
    """The table that a warehouse would hold: the same conversions as ``filling`` plans."""
    now = datetime.fromisoformat(told["now"])
    rows = []
    for number in range(told["count"]):
        at = now - timedelta(days=3, seconds=number % 86_400)
        rows.append((number, str(_FIRST_YCLID + number * 7), _TARGET, int(at.timestamp()), at.isoformat(" ")))
    with sqlite3.connect(_database(told)) as database:
        database.execute("CREATE TABLE conversions (id INTEGER, yclid TEXT, target TEXT, at INTEGER, time TEXT)")
        database.executemany("INSERT INTO conversions VALUES (?, ?, ?, ?, ?)", rows)


def _metrica(told: dict[str, Any]) -> dict[str, Any]:
    os.environ["METRICA_TOKEN"] = f"OAuth {told['metrica_token']}"
    return {
        "type": "rest_api",
        "url": told["metrica"] + "/offline_conversions/upload?type=BASIC",
        "headers": {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
        "auth": {"type": "api_key", "header": "Authorization", "value_env": "METRICA_TOKEN"},
        "body_mode": "batch",
        "batch_template": _TEMPLATE,
    }


def _google_ads(told: dict[str, Any]) -> dict[str, Any]:
    library("drt.destinations.google_ads")._BASE_URL = told["google_ads"]  # it has no setting for the address
    os.environ["GOOGLE_CLIENT_ID"] = os.environ["GOOGLE_CLIENT_SECRET"] = "sample"
    return {
        "type": "google_ads",
        "customer_id": "1234567890",
        "conversion_action": "customers/1234567890/conversionActions/987",
        "gclid_field": "yclid",
        "conversion_time_field": "time",
        "auth": {
            "type": "oauth2_client_credentials",
            "token_url": told["google_ads"] + "/token",
            "client_id_env": "GOOGLE_CLIENT_ID",
            "client_secret_env": "GOOGLE_CLIENT_SECRET",
        },
    }


_DESTINATIONS = {"metrica": _metrica, "google_ads": _google_ads}


def run(told: dict[str, Any], watch: Watch) -> None:
    """One sync, as ``drt run`` does it; incremental, so that it can go on after a kill as well as it can."""
    part = told["part"]
    database = _database(told)
    config = library("drt.config.models").SyncConfig.model_validate(
        {
            "name": "conversions",
            "model": "SELECT * FROM conversions ORDER BY id",
            "destination": _DESTINATIONS[part](told),
            "sync": {
                "mode": "incremental",
                "cursor_field": "id",
                "batch_size": told.get("batch", _BATCH),
                "rate_limit": {"requests_per_second": 1000},
            },
        }
    )
    make, module = ("RestApiDestination", "rest_api") if part == "metrica" else ("GoogleAdsDestination", "google_ads")
    destination = getattr(library(f"drt.destinations.{module}"), make)()
    source = library("drt.sources.sqlite").SQLiteSource()
    profile = library("drt.config.credentials").SQLiteProfile(type="sqlite", database=str(database))
    states = library("drt.state.manager").LocalStateManager(database.parent)
    observer = library("drt.engine.observer").StatePersistingObserver(states, None)
    sync = library("drt.engine.sync").run_sync
    watch.start()
    result = sync(config, source, destination, profile, database.parent, state_manager=states, observer=observer)
    watch.stop()
    child.report(watch, result.success, failed=result.failed, errors=result.errors[:3])


if __name__ == "__main__":
    told = child.arguments()
    os.environ["DRT_TELEMETRY"] = "false"
    if told["part"].endswith("prepare"):
        prepare(told)
        child.report(Watch(), 0)
    else:
        run(told, Watch())
