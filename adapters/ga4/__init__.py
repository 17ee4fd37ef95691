"""Google Analytics 4: lead events by the Measurement Protocol (contract google 5)."""

from adapters.ga4.destination import TRAITS, build
from adapters.ga4.form import FORM
from adapters.ga4.settings import Ga4Settings
from bridge.ports import AdapterSpec, Api, DestinationSpec

SPEC = AdapterSpec(
    kind="ga4",
    title="Google Analytics 4",
    destination=DestinationSpec(Ga4Settings, build, TRAITS, FORM),
    apis=(Api("2", "Measurement Protocol"),),
    fake="adapters.ga4.fake.Stream",
)
