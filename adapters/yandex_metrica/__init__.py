"""Yandex Metrica: offline conversions, or CRM orders, written to a counter; visits that sent a form, read from one."""

from __future__ import annotations

from adapters.yandex_metrica import orders, source
from adapters.yandex_metrica.destination import TRAITS, Metrica
from adapters.yandex_metrica.form import FORM, VISITS_FORM
from adapters.yandex_metrica.settings import MetricaSettings, MetricaVisitSettings
from bridge.ports import AdapterSpec, Api, DestinationSpec, DestinationTraits, SourceSpec
from bridge.tools import Tools


def build(own: str, settings: MetricaSettings, tools: Tools) -> Metrica | orders.Orders:
    """A destination for validated settings, by their mode.

    Raises:
        ConfigError: the token cannot be read.
    """
    kind = orders.Orders if settings.mode == "crm_orders" else Metrica
    return kind(own, settings, tools)


def traits_of(settings: MetricaSettings) -> DestinationTraits:
    """What a mode can do."""
    return orders.TRAITS if settings.mode == "crm_orders" else TRAITS


SPEC = AdapterSpec(
    kind="yandex_metrica",
    title="Yandex Metrica",
    source=SourceSpec(MetricaVisitSettings, source.build, form=VISITS_FORM),
    destination=DestinationSpec(MetricaSettings, build, TRAITS, FORM, traits_of),
    apis=(Api("v1", "Metrica management API"),),
    fake="adapters.yandex_metrica.fake.Metrica",
    source_fake="adapters.yandex_metrica.fake_visits.Visits",
)
