"""What ``bridge init`` asks about an amoCRM account."""

from bridge.forms import Ask, Form, Secrecy, Spare, Way

_TOKEN = Way(
    "token",
    "a long-lived token of a private integration",
    (Ask("auth.token", "the long-lived token, from the integration's keys", Secrecy.TYPED),),
)
_OAUTH = Way(
    "oauth",
    "an integration with OAuth",
    (
        Ask("auth.client_id", "the integration's id"),
        Ask("auth.client_secret", "the integration's secret key", Secrecy.TYPED),
        Ask("auth.redirect_uri", "the integration's redirect address, exactly as it stands there"),
    ),
    is_granted=True,
)
FORM = Form(
    name="crm",
    asks=(Ask("base_url", "the address of your account, such as https://example.amocrm.ru"),),
    ways=(_TOKEN, _OAUTH),
    spares=(
        Spare("poll_every", '"60s"', "how often to look for changes"),
        Spare("start_from", '"1d"', "the very first poll looks so far back; `bridge backfill` reads more"),
        Spare("sweep_every", '"1d"', 'how often all open deals are read again, as a check; "0s": never'),
        Spare("requests_per_second", "7.0", "the vendor's limit for one integration; on Kommo for one IP address"),
    ),
)
