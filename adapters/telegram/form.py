"""What ``bridge init`` asks about a bot."""

from bridge.forms import Ask, Form, Secrecy, Spare

FORM = Form(
    name="telegram",
    asks=(
        Ask("token", "the bot's token, from @BotFather", Secrecy.TYPED),
        Ask("chats.sales", "the number of the chat that is told, or the @name of a channel"),
    ),
    spares=(
        Spare("template", '"{goal}: {deal}, {value}, {at}"', "the words; {id} makes a link to the deal"),
        Spare("quiet", '"22:00-09:00"', "nobody is told then; messages wait for the morning"),
        Spare("window", '"24h"', "of conversions reached longer ago nobody is told"),
    ),
)
