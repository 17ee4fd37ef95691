"""Google Ads, written to by the Data Manager API (contract google)."""

from adapters.google_ads.destination import TRAITS, build
from adapters.google_ads.form import FORM
from adapters.google_ads.settings import GoogleAdsSettings
from bridge.ports import AdapterSpec, DestinationSpec

SPEC = AdapterSpec(
    kind="google_ads",
    title="Google Ads (Data Manager API)",
    destination=DestinationSpec(GoogleAdsSettings, build, TRAITS, FORM),
    api_version="v1",
    fake="adapters.google_ads.fake.GoogleAds",
)
