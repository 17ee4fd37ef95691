"""VK Ads: offline conversions as hits on the pixel (contract vk_ads 2)."""

from adapters.vk_ads.destination import TRAITS, build
from adapters.vk_ads.form import FORM
from adapters.vk_ads.settings import VkAdsSettings
from bridge.ports import AdapterSpec, Api, DestinationSpec

SPEC = AdapterSpec(
    kind="vk_ads",
    title="VK Ads",
    destination=DestinationSpec(VkAdsSettings, build, TRAITS, FORM),
    apis=(Api("pixel hits", "Top.Mail.Ru"),),
    fake="adapters.vk_ads.fake.Pixel",
)
