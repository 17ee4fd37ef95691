"""What ``bridge init`` asks about a mailbox."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="mail",
    asks=(
        Ask("host", "the mail server: smtp.yandex.ru"),
        Ask("user", "the name to log in with, mostly the whole address"),
        Ask("password", "the password, mostly one made for programs", Secrecy.TYPED),
        Ask("sender", "the address that the messages are from"),
        Ask("to.sales", "the address that is told"),
    ),
    spares=(
        Spare("port", "465", "465 with tls, 587 with starttls"),
        Spare("security", '"tls"', '"tls", "starttls", or "none" for a server on this machine'),
        Spare("quiet", '"22:00-09:00"', "nobody is told then; messages wait for the morning"),
        Spare("window", '"24h"', "of conversions reached longer ago nobody is told"),
    ),
)
