"""What ``bridge init`` asks about a pixel of VK Ads."""

from bridge.forms import Ask, Form, Spare

FORM = Form(
    name="vk",
    asks=(Ask("pixel_id", "the pixel's number", is_number=True),),
    spares=(
        Spare("window_event", '"3d"', "conversions reached longer ago are not sent: VK counts them when they come"),
        Spare("when_unsure", '"hold"', "after a lost answer: hold (for you), resend (may count twice), drop"),
        Spare("send_every", '"60s"', "how often to send what is due"),
    ),
)
