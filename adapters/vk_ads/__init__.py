"""VK Ads: offline conversions as hits on the pixel (contract vk_ads 2)."""

from adapters.vk_ads.destination import TRAITS, build
from adapters.vk_ads.form import FORM
from adapters.vk_ads.settings import VkAdsSettings
from bridge.ports import AdapterSpec, DestinationSpec

SPEC = AdapterSpec(
    kind="vk_ads",
    title="VK Ads",
    destination=DestinationSpec(VkAdsSettings, build, TRAITS, FORM),
    api_version="pixel hits",
    fake="adapters.vk_ads.fake.Pixel",
)
