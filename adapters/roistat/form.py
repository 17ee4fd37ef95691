"""What ``bridge init`` asks about a Roistat project."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="calls",
    asks=(
        Ask("project", "the project's number; `bridge check` lists those of the key", is_number=True),
        Ask("api_key", "the API key, from the profile's settings", Secrecy.TYPED),
    ),
    spares=(
        Spare("sends_calls", '"no"', "whether Roistat itself sends calls to ad systems; `bridge check` asks for it"),
        Spare("entities", '["call", "form", "visit"]', "what to read: calls, proxy leads, the visits of orders"),
        Spare("poll_every", '"5m"', "how often to look"),
        Spare("start_from", '"30d"', "the very first poll looks so far back, for the deals that came of those calls"),
        Spare("reread", '"2d"', "so far back records are listed again: what is known of a visit may come later"),
    ),
)
