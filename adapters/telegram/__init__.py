"""Telegram: a message of a bot to a chat about each conversion, at most as often as its goal is reached."""

from adapters.telegram.destination import TRAITS, build
from adapters.telegram.form import FORM
from adapters.telegram.settings import TelegramSettings
from bridge.ports import AdapterSpec, Api, DestinationSpec

SPEC = AdapterSpec(
    kind="telegram",
    title="Telegram",
    destination=DestinationSpec(TelegramSettings, build, TRAITS, FORM),
    apis=(Api("Bot API", "Telegram"),),
    fake="adapters.telegram.fake.Messenger",
)
