"""Yandex Metrica: offline conversions written to a counter."""

from adapters.yandex_metrica.destination import TRAITS, build
from adapters.yandex_metrica.form import FORM
from adapters.yandex_metrica.settings import MetricaSettings
from bridge.ports import AdapterSpec, DestinationSpec

SPEC = AdapterSpec(
    kind="yandex_metrica",
    title="Yandex Metrica",
    destination=DestinationSpec(MetricaSettings, build, TRAITS, FORM),
    api_version="management v1",
    fake="adapters.yandex_metrica.fake.Metrica",
)
