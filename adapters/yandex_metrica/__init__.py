"""Yandex Metrica: offline conversions written to a counter."""

from adapters.yandex_metrica.destination import TRAITS, build
from adapters.yandex_metrica.form import FORM
from adapters.yandex_metrica.settings import MetricaSettings
from bridge.ports import AdapterSpec, Api, DestinationSpec

SPEC = AdapterSpec(
    kind="yandex_metrica",
    title="Yandex Metrica",
    destination=DestinationSpec(MetricaSettings, build, TRAITS, FORM),
    apis=(Api("v1", "Metrica management API"),),
    fake="adapters.yandex_metrica.fake.Metrica",
)
