"""What ``bridge init`` asks about a Calltouch site."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="calls",
    asks=(
        Ask("site_id", "the site's number, from the cabinet's API page", is_number=True),
        Ask("token", "the API token, from the same page", Secrecy.TYPED),
    ),
    spares=(
        Spare("sends_calls", '"no"', "whether Calltouch itself sends calls to ad systems; `bridge check` asks for it"),
        Spare("timezone", '"Europe/Moscow"', "the site's time zone in Calltouch; without it the tenant's"),
        Spare("poll_every", '"5m"', "how often to look for calls and forms"),
        Spare("start_from", '"30d"', "the very first poll looks so far back, for the deals that came of those calls"),
        Spare("reread", '"2d"', "so far back calls are listed again: what is known of a visit may come later"),
        Spare("forms", "true", "whether forms are read beside the calls"),
    ),
)
