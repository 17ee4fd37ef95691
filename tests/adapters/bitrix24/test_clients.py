"""Clients that others wrote read our simulator: what they cannot do here, the simulator does wrong.

``fast_bitrix24`` takes any address. ``b24pysdk`` builds ``https://`` URLs itself, so a relay on 127.0.0.1 speaks TLS
for the simulator, with a certificate made for the test and named by ``REQUESTS_CA_BUNDLE``; the library is untouched.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from b24pysdk import Client  # type: ignore[import-untyped]  # ships no types
from b24pysdk.credentials.bitrix_app import BitrixApp  # type: ignore[import-untyped]  # ships no types
from b24pysdk.credentials.bitrix_token import BitrixToken, BitrixWebhook  # type: ignore[import-untyped]  # ships no types
from b24pysdk.credentials.oauth_event_data import OAuthEventData  # type: ignore[import-untyped]  # ships no types
from b24pysdk.errors import BitrixAPIError, BitrixAPIExpiredToken, BitrixRequestError  # type: ignore[import-untyped]  # ships no types
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fast_bitrix24 import BitrixAsync  # type: ignore[import-untyped]  # ships no types

from adapters.bitrix24.fake import Bitrix24
from adapters.bitrix24.fake_oauth import CLIENT_ID
from adapters.bitrix24.fake_schema import CONTACT, DEAL, INVOICE
from bridge.sim.clock import ManualClock
from tests.adapters.bitrix24.kit import Rig, add_deals, add_leads, running
from tests.support import START

COUNT = 2713  # more than one batch of pages, not a round number


def numbered(rows: Any) -> list[int]:
    return sorted(int(row.get("ID") or row["id"]) for row in rows)


def fast(rig: Rig) -> BitrixAsync:
    return BitrixAsync(rig.portal.webhook_url, verbose=False)


@asynccontextmanager
async def portal(folder: Path) -> AsyncIterator[Rig]:
    """2,713 deals: the first seven in another pipeline, every third moved on after creation."""
    async with running(folder) as rig:
        for name in ("Анна", "Пётр"):
            rig.portal.data.add(CONTACT, START, {"NAME": name, "PHONE": ["+79990001122"]})
        add_deals(rig.portal, COUNT, CONTACT_ID="1")
        for number in range(3, COUNT, 3):
            rig.portal.data.update(DEAL, number, START + timedelta(hours=1), {"STAGE_ID": "C1:WON"})
        yield rig


# --- fast_bitrix24 -----------------------------------------------------------------------------------------------


async def test_fast_bitrix24_gets_all_deals(tmp_path: Path) -> None:
    """Offset paging with totals, packed in batches."""
    async with portal(tmp_path) as rig:
        rows = await fast(rig).get_all("crm.deal.list", {"select": ["ID", "STAGE_ID", "UF_*"], "filter": {">ID": 0}})
        assert numbered(rows) == list(range(1, COUNT + 1))
        assert {row["STAGE_ID"] for row in rows} == {"C1:NEW", "C1:WON"}
        assert sum(rig.asked.values()) == 1 + 2


async def test_fast_bitrix24_gets_filtered_and_universal_lists(tmp_path: Path) -> None:
    """Filters by list and comparison; ``crm.item.list`` with its wrapped, typed items."""
    async with portal(tmp_path) as rig:
        won = await fast(rig).get_all("crm.deal.list", {"filter": {"@STAGE_ID": ["C1:WON"], "<=ID": 600}})
        assert numbered(won) == list(range(3, 601, 3))
        items = await fast(rig).get_all("crm.item.list", {"entityTypeId": 2, "filter": {">id": 2000}})
        assert numbered(items) == list(range(2001, COUNT + 1))
        assert {type(item["categoryId"]) for item in items} == {int}


async def test_fast_bitrix24_lists_and_gets(tmp_path: Path) -> None:
    """A list of ids, then every record by itself: maps of a batch come back keyed by id."""
    async with running(tmp_path) as rig:
        add_leads(rig.portal, 131, UF_CRM_YCLID="135", PHONE=["+79990001122"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            rows = await fast(rig).list_and_get("crm.lead")
        assert sorted(map(int, rows)) == list(range(1, 132))
        assert all(row["UF_CRM_YCLID"] == "135" and row["UF_CRM_GCLID"] == "" for row in rows.values())
        assert rows["7"]["PHONE"][0]["VALUE"] == "+79990001122"


async def test_fast_bitrix24_gets_by_id_history_and_directories(tmp_path: Path) -> None:
    """Other shapes: single records, stage history, stages, fields, a raw batch with a reference."""
    async with portal(tmp_path) as rig:
        client = fast(rig)
        deals = await client.get_by_ID("crm.deal.get", [5, 6, 9])
        assert {number: deal["STAGE_ID"] for number, deal in deals.items()} == {
            "5": "C1:NEW",
            "6": "C1:WON",
            "9": "C1:WON",
        }
        history = await client.get_all("crm.stagehistory.list", {"entityTypeId": 2})
        assert len(history) == COUNT + COUNT // 3
        stages = await client.get_all("crm.status.list", {"filter": {"ENTITY_ID": "DEAL_STAGE_1"}})
        assert "C1:WON" in {stage["STATUS_ID"] for stage in stages}
        assert "UF_CRM_YCLID" in await client.get_all("crm.deal.fields")
        chained = {"d": "crm.deal.get?id=9", "c": "crm.contact.get?id=$result[d][CONTACT_ID]"}
        answer = await client.call_batch({"halt": 1, "cmd": chained})
        assert answer["c"]["NAME"] == "Анна"


# --- b24pysdk ----------------------------------------------------------------------------------------------------


def _certificate(folder: Path) -> Path:
    """A key and a self-signed certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "tls.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, form, plain) + certificate.public_bytes(pem))
    return path


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def tls(rig: Rig, certificate: Path) -> AsyncIterator[str]:
    """``host:port`` that speaks TLS and passes every byte on to the simulator."""
    target = int(rig.portal.base_url.rpartition(":")[2])

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = _certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    return path


async def official(rig: Rig, certificate: Path, use: Callable[[BitrixWebhook], Any]) -> Any:
    """Run the vendor's SDK (which blocks) in a thread against the portal."""
    token = rig.portal.secrets()["SIM_B24_WEBHOOK"]
    async with tls(rig, certificate) as domain:
        return await asyncio.to_thread(use, BitrixWebhook(domain=domain, webhook_token=token))


async def test_b24pysdk_lists_deals_both_ways(tmp_path: Path, certificate: Path) -> None:
    """Counted paging by batches, and the fast keyset chained by ``$result`` references, wrapped or not."""
    async with portal(tmp_path) as rig:
        every = list(range(1, COUNT + 1))
        counted = await official(rig, certificate, lambda t: t.call_list("crm.deal.list", {"select": ["ID"]})["result"])
        assert numbered(counted) == every
        rig.portal.requests.clear()
        quick = await official(rig, certificate, lambda t: list(t.call_list_fast("crm.deal.list")["result"]))
        assert [int(row["ID"]) for row in quick] == every
        assert rig.asked == {"crm.deal.list": 1, "batch": 2}
        query = {"entityTypeId": 2, "select": ["id"]}
        items = await official(rig, certificate, lambda t: list(t.call_list_fast("crm.item.list", query)["result"]))
        assert [item["id"] for item in items] == every


async def test_b24pysdk_calls_batches_and_sees_errors_as_its_own(tmp_path: Path, certificate: Path) -> None:
    """Times are where the SDK looks for them; an error is the class it has for it."""
    async with portal(tmp_path) as rig:
        methods = {"a": ("crm.deal.get", {"id": 6}), "b": ("crm.deal.get", {"id": 999999})}
        answer = await official(rig, certificate, lambda t: t.call_batch(methods))
        assert answer["result"]["result"]["a"]["STAGE_ID"] == "C1:WON"
        assert answer["result"]["result_error"]["b"] == {"error": "", "error_description": "Not found"}
        assert {"start", "finish", "duration", "processing", "date_start", "date_finish"} <= set(answer["time"])
        rig.portal.is_revoked = True
        with pytest.raises(BitrixAPIError) as caught:
            await official(rig, certificate, lambda t: t.call_method("profile"))
        assert "INVALID_CREDENTIALS" in repr(caught.value.json_response)


# --- applications and smart processes ----------------------------------------------------------------------------


class Application(BitrixToken):  # type: ignore[misc]  # the library has no types
    """The SDK's own; its refreshing, which knows one server only, is left alone."""

    _AUTO_REFRESH_EXPIRED_TOKEN = False


async def application(rig: Rig, domain: str) -> BitrixToken:
    """With an access token got as an installation gets it."""
    asked = {"client_id": CLIENT_ID, "client_secret": rig.portal.oauth.client_secret}
    query = {"grant_type": "authorization_code", "code": rig.portal.oauth.code()}
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{rig.portal.base_url}/oauth/token/", params={**asked, **query})
    app = BitrixApp(client_id=CLIENT_ID, client_secret=rig.portal.oauth.client_secret)
    return Application(domain=domain, auth_token=answer.json()["access_token"], bitrix_app=app)


async def test_b24pysdk_calls_as_an_application(tmp_path: Path, certificate: Path) -> None:
    """It puts the token where the portal looks for it, and has a class of its own for one that has expired."""
    async with portal(tmp_path) as rig, tls(rig, certificate) as domain:
        app = await application(rig, domain)
        answer = await asyncio.to_thread(app.call_method, "crm.deal.get", {"id": 6})
        assert answer["result"]["STAGE_ID"] == "C1:WON"
        rig.portal.oauth.expire()
        with pytest.raises(BitrixAPIExpiredToken):
            await asyncio.to_thread(app.call_method, "crm.deal.get", {"id": 6})


async def test_b24pysdk_understands_a_renamed_portals_redirect(tmp_path: Path, certificate: Path) -> None:
    """It takes the new host from it and calls again there; ports it does not know, so nobody answers here."""
    async with portal(tmp_path) as rig, tls(rig, certificate) as domain:
        app = await application(rig, domain)
        rig.portal.moved_to = "https://127.0.0.1"
        with pytest.raises(BitrixRequestError):
            await asyncio.to_thread(app.call_method, "crm.deal.get", {"id": 6})
        assert app.domain == "127.0.0.1"


async def test_b24pysdk_has_the_queue_of_offline_events(tmp_path: Path, certificate: Path) -> None:
    """Binds, lists handlers, reserves, sees the reservation in the list, confirms; its names are those we use."""
    async with portal(tmp_path) as rig, tls(rig, certificate) as domain:
        event = Client(await application(rig, domain)).event

        def use() -> Any:
            assert event.bind("ONCRMDEALUPDATE", event_type="offline").result is True
            bound = [(handler.event, handler.offline) for handler in event.get().values]
            rig.portal.data.update(DEAL, 6, START, {"TITLE": "x"})
            taken = event.offline.get(clear=False).result
            (row,) = event.offline.list().values
            messages = [one["MESSAGE_ID"] for one in taken["events"]]
            assert row.process_id == taken["process_id"]
            cleared = event.offline.clear(taken["process_id"], message_id=messages).result
            return bound, taken["events"][0]["EVENT_DATA"], cleared, event.offline.list().result

        found = await asyncio.to_thread(use)
        assert found == ([("ONCRMDEALUPDATE", True)], {"FIELDS": {"ID": 6}}, True, [])


def test_b24pysdk_reads_the_webhooks_of_the_simulator() -> None:
    """Its model of an event takes the form that is posted."""
    desk = Bitrix24(ManualClock(START)).events
    form = dict(desk.form("ONCRMDEALUPDATE", {"ID": 7310}, "q4t8", 1786711683))
    event = OAuthEventData.from_dict(form)
    assert (event.event, event.data, event.auth.application_token) == (
        "ONCRMDEALUPDATE",
        {"FIELDS": {"ID": "7310"}},
        "q4t8",
    )


async def test_both_clients_read_smart_processes(tmp_path: Path, certificate: Path) -> None:
    """Lists, fields, pipelines and stage history of a process."""
    async with running(tmp_path, processes=(1032,)) as rig:
        for _ in range(131):
            rig.portal.data.add("item:1032", START, {"CATEGORY_ID": "5", "STAGE_ID": "DT1032_5:NEW"})
        query = {"entityTypeId": 1032, "useOriginalUfNames": "Y"}
        items = await fast(rig).get_all("crm.item.list", query)
        assert numbered(items) == list(range(1, 132))
        assert {"UF_CRM_YCLID", "stageId", "updatedTime"} <= set(items[0])
        assert len(await fast(rig).get_all("crm.stagehistory.list", {"entityTypeId": 1032})) == 131
        quick = await official(rig, certificate, lambda t: list(t.call_list_fast("crm.item.list", query)["result"]))
        assert [item["id"] for item in quick] == list(range(1, 132))
        found = await official(rig, certificate, lambda t: t.call_method("crm.category.list", {"entityTypeId": 1032}))
        assert [item["name"] for item in found["result"]["categories"]] == ["Монтаж", "Сервис"]


async def test_both_clients_read_payments_and_invoices(tmp_path: Path, certificate: Path) -> None:
    """Payments deal by deal, by the SDK's own method; invoices of a deal by ``parentId2``."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 3)
        for deal in (1, 1, 3):
            rig.portal.data.bill(deal, "500.50", paid_at=START)
            fields = {"CATEGORY_ID": "1", "STAGE_ID": "DT31_1:P", "PARENT_ID_2": str(deal), "OPPORTUNITY": "500.50"}
            rig.portal.data.add(INVOICE, START, fields)
        wanted = {"entityTypeId": 2}
        paid = await fast(rig).get_by_ID("crm.item.payment.list", [1, 2, 3], ID_field_name="entityId", params=wanted)
        assert {deal: [row["id"] for row in rows] for deal, rows in paid.items()} == {"1": [1, 2], "2": [], "3": [3]}
        query = {"entityTypeId": 31, "filter": {"@parentId2": [1, 2]}}
        assert numbered(await fast(rig).get_all("crm.item.list", query)) == [1, 2]
        ask = {"entity_id": 1, "entity_type_id": 2}
        rows = await official(rig, certificate, lambda t: Client(t).crm.item.payment.list(**ask).response.result)
        assert [(row["id"], row["paid"], row["sum"]) for row in rows] == [(1, "Y", 500.5), (2, "Y", 500.5)]


async def test_both_clients_read_product_rows(tmp_path: Path, certificate: Path) -> None:
    """More than a page of them: by offset, each in its own way."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 2)
        for _ in range(120):
            rig.portal.methods.rows.add((DEAL, 2), "Окно", "10000.50", "2")
        ask = {"filter": {"=ownerType": "D", "=ownerId": 2}}
        rows = await fast(rig).get_all("crm.item.productrow.list", ask)
        assert numbered(rows) == list(range(1, 121))
        assert {(row["price"], row["quantity"]) for row in rows} == {(10000.5, 2)}
        again = await official(
            rig, certificate, lambda t: list(Client(t).crm.item.productrow.list(**ask).as_list().result)
        )
        assert numbered(again) == list(range(1, 121))
