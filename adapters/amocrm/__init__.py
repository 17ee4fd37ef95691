"""amoCRM and Kommo: leads read from an account."""

from adapters.amocrm.auth import authorize, expires
from adapters.amocrm.form import FORM
from adapters.amocrm.hooks import reader
from adapters.amocrm.settings import AmoCrmSettings
from adapters.amocrm.source import build
from bridge.ports import AdapterSpec, Api, SourceSpec

SPEC = AdapterSpec(
    kind="amocrm",
    title="amoCRM / Kommo",
    source=SourceSpec(AmoCrmSettings, build, authorize, expires, reader, FORM),
    apis=(Api("v4", "amoCRM API"),),
    fake="adapters.amocrm.fake.AmoCrm",
)
