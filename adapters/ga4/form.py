"""What ``bridge init`` asks about a web stream of Google Analytics 4."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="ga",
    asks=(
        Ask("measurement_id", 'the id of the web stream, such as "G-AB12CD34EF"'),
        Ask("api_secret", "a Measurement Protocol API secret of the stream", Secrecy.TYPED),
    ),
    spares=(
        Spare(
            "consent",
            '{ ad_user_data = "granted", ad_personalization = "granted" }',
            "what your visitors agreed to: granted or denied",
        ),
        Spare("base_url", '"https://region1.google-analytics.com"', "Google's address in the EU"),
        Spare("when_unsure", '"hold"', "after a lost answer: hold (for you), resend (may count twice), drop"),
        Spare("send_every", '"60s"', "how often to send what is due; Google takes conversions of the last 72 hours"),
    ),
)
