"""What ``bridge init`` asks about a Google Ads account."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="google",
    asks=(
        Ask("customer_id", "the number of the account that owns the conversion actions, such as 123-456-7890"),
        Ask("credentials", "the service-account key, or an OAuth client with a refresh token (JSON)", Secrecy.FILE),
    ),
    spares=(
        Spare("login_customer_id", '"9876543210"', "the manager account the credentials belong to; leave out if none"),
        Spare(
            "consent",
            '{ ad_user_data = "granted", ad_personalization = "granted" }',
            "what your visitors agreed to: granted or denied; without it Google may drop conversions from Europe",
        ),
        Spare("event_source", '"WEB"', "where it happened: WEB, APP, IN_STORE, PHONE, MESSAGE, OTHER"),
        Spare("send_every", '"60s"', "how often to upload what is due"),
        Spare("retract", "false", "true: refunds and undone goals are taken back, not made worth 0"),
    ),
)
