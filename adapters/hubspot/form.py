"""What ``bridge init`` asks about a HubSpot account."""

from adapters.hubspot.settings import HOME
from bridge.forms import Ask, Form, Secrecy, Spare, Way

_TOKEN = Way(
    "token",
    "a private app's access token",
    (Ask("auth.token", "the private app's access token (pat-...)", Secrecy.TYPED),),
)
_OAUTH = Way(
    "oauth",
    "a public app with OAuth",
    (
        Ask("auth.client_id", "the app's client id"),
        Ask("auth.client_secret", "the app's client secret", Secrecy.TYPED),
        Ask("auth.redirect_uri", "the app's redirect address, exactly as it stands there"),
    ),
    is_granted=True,
)
FORM = Form(
    name="crm",
    asks=(Ask("base_url", "the API's address; another one for a proxy only", default=HOME),),
    ways=(_TOKEN, _OAUTH),
    spares=(
        Spare("entities", '["contact", "deal"]', 'contacts are leads, by lifecycle stage; ["deal"] for deals only'),
        Spare("properties", '["dealtype"]', "HubSpot's own properties that goals look at; yours are read anyway"),
        Spare("loss_reason_field", '"closed_lost_reason"', "the property that says why a deal was lost"),
        Spare("home_currency", '"RUB"', "of deals that name none; by default the tenant's currency"),
        Spare("poll_every", '"60s"', "how often to look for changes"),
        Spare("start_from", '"1d"', "the very first poll looks so far back; `bridge backfill` reads more"),
        Spare("sweep_every", '"1d"', 'how often all open deals are read again, as a check; "0s": never'),
        Spare("requests_per_second", "9.0", "9 for 100 requests in ten seconds; 18 on Professional and Enterprise"),
        Spare("searches_per_second", "4.0", "the account's limit is 5, for all programs together"),
    ),
)
