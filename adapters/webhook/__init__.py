"""Any HTTPS endpoint of the advertiser's own: conversions as signed JSON."""

from adapters.webhook.destination import TRAITS, build
from adapters.webhook.form import FORM
from adapters.webhook.settings import WebhookSettings
from bridge.ports import AdapterSpec, Api, DestinationSpec

SPEC = AdapterSpec(
    kind="webhook",
    title="Webhook",
    destination=DestinationSpec(WebhookSettings, build, TRAITS, FORM),
    apis=(Api("1", "Standard Webhooks"),),
    fake="adapters.webhook.fake.Receiver",
)
