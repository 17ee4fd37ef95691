"""What ``bridge init`` asks about a dataset of Meta."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="meta",
    asks=(
        Ask("dataset_id", "the number of the dataset (pixel)", is_number=True),
        Ask("token", "an access token of a system user that the dataset is assigned to", Secrecy.TYPED),
    ),
    spares=(
        Spare("lead_event_source", '"amoCRM"', "the CRM's name, as Meta shows it"),
        Spare("persons", "false", "true: SHA-256 digests of phones and e-mails too; a question of law"),
        Spare("when_unsure", '"hold"', "after a lost answer: hold (for you), resend (may count twice), drop"),
        Spare("send_every", '"60s"', "how often to send what is due; Meta takes conversions of the last 7 days"),
    ),
    takes_any_name=True,
)
