"""Google Ads, written to by the Data Manager API (contract google)."""

from adapters.google_ads.ads_api import SUNSET as ADS_SUNSET
from adapters.google_ads.ads_api import VERSION as ADS_VERSION
from adapters.google_ads.destination import TRAITS, build
from adapters.google_ads.form import FORM
from adapters.google_ads.settings import GoogleAdsSettings
from bridge.ports import AdapterSpec, Api, DestinationSpec

SPEC = AdapterSpec(
    kind="google_ads",
    title="Google Ads (Data Manager API)",
    destination=DestinationSpec(GoogleAdsSettings, build, TRAITS, FORM),
    apis=(Api("v1", "Data Manager API"), Api(ADS_VERSION, "Google Ads API", ADS_SUNSET)),
    fake="adapters.google_ads.fake.GoogleAds",
)
