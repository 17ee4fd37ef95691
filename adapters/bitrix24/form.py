"""What ``bridge init`` asks about a Bitrix24 portal."""

from bridge.forms import Ask, Form, Secrecy, Spare, Way

_WEBHOOK = Way(
    "webhook",
    "an inbound webhook with the right CRM (crm)",
    (Ask("auth.webhook", "USER/CODE, the two parts after /rest/ of the webhook's address", Secrecy.TYPED),),
)
_OAUTH = Way(
    "oauth",
    "a local application",
    (
        Ask("auth.client_id", "the application's client_id"),
        Ask("auth.client_secret", "the application's client_secret", Secrecy.TYPED),
        Ask("auth.refresh_token", "its first refresh token; newer ones live in the database", Secrecy.TYPED),
    ),
)
FORM = Form(
    name="crm",
    asks=(Ask("base_url", "the address of your portal, such as https://example.bitrix24.ru"),),
    ways=(_WEBHOOK, _OAUTH),
    spares=(
        Spare("entities", '["lead", "deal"]', 'what to read; ["deal"] for a portal without leads'),
        Spare("loss_reason_field", '"UF_CRM_LOSS_REASON"', "a field that says why a deal was lost; else its stage"),
        Spare("poll_every", '"60s"', "how often to look for changes"),
        Spare("start_from", '"1d"', "the very first poll looks so far back; `bridge backfill` reads more"),
        Spare("sweep_every", '"1d"', 'how often all open deals are read again, as a check; "0s": never'),
        Spare("requests_per_second", "2.0", "the plan's limit: 2, on Enterprise 5"),
    ),
)
