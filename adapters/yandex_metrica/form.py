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
