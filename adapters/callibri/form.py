"""What ``bridge init`` asks about a Callibri project."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="calls",
    asks=(
        Ask("site_id", "the project's number; `bridge check` lists those of the account", is_number=True),
        Ask("user_email", "the e-mail the account logs in with"),
        Ask("token", "the API token, from the account's settings", Secrecy.TYPED),
    ),
    spares=(
        Spare("sends_calls", '"no"', "whether Callibri itself sends calls to ad systems; `bridge check` asks for it"),
        Spare("use_guesses", "false", "whether to believe calls of which several visitors saw the number"),
        Spare("poll_every", '"5m"', "how often to look for calls and forms"),
        Spare("start_from", '"30d"', "the very first poll looks so far back, for the deals that came of those calls"),
        Spare("reread", '"2d"', "so far back appeals are listed again: what is known of a visit may come later"),
    ),
)
