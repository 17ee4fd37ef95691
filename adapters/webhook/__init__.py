"""Any HTTPS endpoint of the advertiser's own: conversions as signed JSON."""

from adapters.webhook.destination import TRAITS, build
from adapters.webhook.form import FORM
from adapters.webhook.settings import WebhookSettings
from bridge.ports import AdapterSpec, DestinationSpec

SPEC = AdapterSpec(
    kind="webhook",
    title="Webhook",
    destination=DestinationSpec(WebhookSettings, build, TRAITS, FORM),
    api_version="Standard Webhooks 1",
    fake="adapters.webhook.fake.Receiver",
)
