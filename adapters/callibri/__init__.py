"""Callibri: calls, forms, chats and e-mails with their visits, as touches for the deals of other sources."""

from adapters.callibri.form import FORM
from adapters.callibri.settings import CallibriSettings
from adapters.callibri.source import build
from bridge.ports import AdapterSpec, SourceSpec

SPEC = AdapterSpec(
    kind="callibri",
    title="Callibri",
    source=SourceSpec(CallibriSettings, build, form=FORM),
    fake="adapters.callibri.fake.Callibri",
)
