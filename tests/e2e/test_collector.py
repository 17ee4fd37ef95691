"""A daemon with a collector: what a visitor's browser posts becomes the click behind the deal."""

from __future__ import annotations

import json
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.e2e.kit import (
    NOW,
    TableRow,
    call,
    daemon,
    eventually,
    free_port,
    later,
    tenant,
    uploaded,
    write_config,
    write_table,
)
from tests.unit.collector.kit import KEY, SITE, YCLID, body

PHONE = "+7 999 000-00-77"
OTHER_KEY, OTHER_YCLID = f"bl{'7' * 24}", "17751109999999999999"
LEAD_KEY = f"bridge_lead={KEY}"


def post(port: int, told: dict[str, Any]) -> int:
    url = f"http://127.0.0.1:{port}/collect/okna"
    request = urllib.request.Request(url, json.dumps(told).encode(), {"Origin": SITE, "Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        status: int = answer.status
    return status


def configure(folder: Path, port: int) -> None:
    collector = {"sites": ["okna.example"], "phone_input": "[type=tel]", "poll_every": "1s"}
    okna = {**tenant(), "collector": collector}
    write_config(folder, listen=f"127.0.0.1:{port}", okna=okna)


def match_of(folder: Path, key: str) -> Any:
    return call(folder, "explain", key, "--tenant", "okna", "--json").json["match"]


def status_of(folder: Path) -> Any:
    return call(folder, "status", "--json").json["tenants"]["okna"]


def test_forms_tell_deals_their_clicks(tmp_path: Path) -> None:
    """One deal carries the lead key, another only the phone; both came before their posts, and both are delivered with
    the click of their own form. The third, a stranger's, is not."""
    port = free_port()
    configure(tmp_path, port)
    rows = [
        TableRow("1", yclid=LEAD_KEY, phone="+7 999 000-00-01"),
        TableRow("2", yclid="", phone=PHONE, created_at=NOW, at=NOW),
        TableRow("3", yclid="", phone="+7 999 000-00-03", created_at=NOW, at=NOW),
    ]
    write_table(tmp_path, rows)
    with daemon(tmp_path) as running:
        eventually(tmp_path, lambda: status_of(tmp_path)["sources"]["leads"]["deals"] == 3, "the leads are read")
        assert uploaded(tmp_path) == []
        other = {"l": f"https://okna.example/?yclid={OTHER_YCLID}", "a": 60}
        assert post(port, body()) == 204
        assert post(port, body(k=OTHER_KEY, c={}, l=other, f=other, x={"p": [PHONE]})) == 204
        later(tmp_path, timedelta(minutes=30))
        eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 2, "both are delivered")
        assert running.stop() == 0
        assert "Traceback" not in running.log
        assert "9990000077" not in running.log.replace(" ", "").replace("-", "")
    sent = "\n".join(uploaded(tmp_path))
    assert YCLID in sent
    assert OTHER_YCLID in sent
    first, second, third = (match_of(tmp_path, f"lead:{number}") for number in (1, 2, 3))
    assert (first["method"], second["method"], third["method"]) == ("visit", "call", None)
    assert f"lead key {KEY}, known from collector/form:{KEY}" in first["evidence"]
    told = status_of(tmp_path)
    assert told["collector"]["taken"] == 2
    assert told["sources"]["collector"]["deals"] == 2
    checked = call(tmp_path, "check", "--tenant", "okna", "--json").json["okna/collector"]
    assert [finding["subject"] for finding in checked] == ["posts", "double counting"]
    assert "from okna.example" in checked[0]["message"]
