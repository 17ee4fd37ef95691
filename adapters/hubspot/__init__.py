"""HubSpot: contacts and deals, through a private app or an OAuth app."""

from adapters.hubspot.auth import authorize
from adapters.hubspot.form import FORM
from adapters.hubspot.hooks import reader
from adapters.hubspot.settings import HubSpotSettings
from adapters.hubspot.source import build
from bridge.ports import AdapterSpec, Api, SourceSpec

SPEC = AdapterSpec(
    kind="hubspot",
    title="HubSpot (contacts and deals)",
    source=SourceSpec(HubSpotSettings, build, authorize, hook=reader, form=FORM),
    apis=(Api("v3", "CRM API"), Api("v4", "associations API")),
    fake="adapters.hubspot.fake.HubSpot",
)
