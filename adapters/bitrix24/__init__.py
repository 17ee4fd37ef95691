"""Bitrix24: leads, deals and smart processes through an inbound webhook or a local application."""

from adapters.bitrix24.auth import authorize
from adapters.bitrix24.form import FORM
from adapters.bitrix24.hooks import reader
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.source import build
from bridge.ports import AdapterSpec, Api, SourceSpec

SPEC = AdapterSpec(
    kind="bitrix24",
    title="Bitrix24 (leads, deals and smart processes through an inbound webhook or an application)",
    source=SourceSpec(Bitrix24Settings, build, authorize, hook=reader, form=FORM),
    apis=(Api("2", "Bitrix24 REST"),),
    fake="adapters.bitrix24.fake.Bitrix24",
)
