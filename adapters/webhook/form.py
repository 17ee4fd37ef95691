"""What ``bridge init`` asks about an endpoint of the advertiser's own."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="webhook",
    asks=(
        Ask("url", "the whole address of the endpoint, starting with https://"),
        Ask("secret", 'the signing secret that both sides know: "whsec_" and base64', Secrecy.TYPED),
    ),
    spares=(
        Spare("idempotent", "true", "the endpoint knows a conversion by its id: what was lost goes again"),
        Spare("persons", "false", "true: SHA-256 digests of phones and e-mails too"),
        Spare("max_rows", "100", "in one message"),
        Spare("send_every", '"60s"', "how often to send what is due"),
    ),
    takes_any_name=True,
)
