"""E-mail: a message about each conversion, handed to the operator's own mail server."""

from adapters.email.destination import TRAITS, build
from adapters.email.form import FORM
from adapters.email.settings import EmailSettings
from bridge.ports import AdapterSpec, Api, DestinationSpec

SPEC = AdapterSpec(
    kind="email",
    title="E-mail",
    destination=DestinationSpec(EmailSettings, build, TRAITS, FORM),
    apis=(Api("SMTP"),),
    fake="adapters.email.fake.PostOffice",
)
