"""What ``bridge init`` asks about a Metrica counter."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="metrica",
    asks=(
        Ask("counter_id", "the counter's number", is_number=True),
        Ask("token", "an OAuth token with metrika:read and metrika:offline_data", Secrecy.TYPED),
    ),
    spares=(
        Spare("send_every", '"5m"', "how often to upload what is due; a login has 5000 requests a day"),
        Spare("window", '"21d"', "how old a visit may be when its conversion is sent"),
        Spare("max_rows", "10000", "in one upload; 1 gives a verdict for each conversion"),
    ),
)

VISITS_FORM = Form(
    name="visits",
    asks=(
        Ask("counter_id", "the counter's number", is_number=True),
        Ask("token", "an OAuth token with metrika:read", Secrecy.TYPED),
        Ask("form_goals", "the counter's goal that a sent form reaches: number, event identifier or title"),
    ),
    spares=(
        Spare("within", '"5m"', "a deal is made so long before or after its form was sent, at most"),
        Spare("reread", '"3d"', "so many days are read again each day: some visits close late"),
        Spare("keep", '"120d"', "so long visits are stored"),
        Spare("start_from", '"30d"', "the very first log goes so far back"),
        Spare("poll_every", '"30m"', "how often to look whether yesterday's log is ready"),
    ),
)
