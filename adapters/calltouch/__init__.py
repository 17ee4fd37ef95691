"""Calltouch: calls and forms with their visits, as touches for the deals of other sources."""

from adapters.calltouch.form import FORM
from adapters.calltouch.settings import CalltouchSettings
from adapters.calltouch.source import build
from bridge.ports import AdapterSpec, Api, SourceSpec

SPEC = AdapterSpec(
    kind="calltouch",
    title="Calltouch",
    source=SourceSpec(CalltouchSettings, build, form=FORM),
    apis=(Api("calls-service", "Calltouch API"),),
    fake="adapters.calltouch.fake.Calltouch",
)
