"""Meta (Facebook, Instagram): CRM events by the Conversions API (contract meta_capi 1 and 2)."""

from adapters.meta_capi.destination import TRAITS, build
from adapters.meta_capi.form import FORM
from adapters.meta_capi.settings import MetaCapiSettings
from bridge.ports import AdapterSpec, Api, DestinationSpec

SPEC = AdapterSpec(
    kind="meta_capi",
    title="Meta Conversions API",
    destination=DestinationSpec(MetaCapiSettings, build, TRAITS, FORM),
    apis=(Api("v25.0", "Graph API"),),
    fake="adapters.meta_capi.fake.Dataset",
)
