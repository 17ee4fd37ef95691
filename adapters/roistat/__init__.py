"""Roistat: calls, proxy leads and the visits of orders, as touches for the deals of other sources."""

from adapters.roistat.form import FORM
from adapters.roistat.settings import RoistatSettings
from adapters.roistat.source import build
from bridge.ports import AdapterSpec, Api, SourceSpec

SPEC = AdapterSpec(
    kind="roistat",
    title="Roistat",
    source=SourceSpec(RoistatSettings, build, form=FORM),
    apis=(Api("v1", "Roistat API"),),
    fake="adapters.roistat.fake.Roistat",
)
