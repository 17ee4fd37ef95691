"""The command ``bridge``, and ``python -m bridge``."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130  # as shells tell of a program that Ctrl-C has ended


def main() -> None:
    """Entry point. Loading the modules takes a moment in which Ctrl-C ends the program at once, without a traceback.

    Not by an exception: a module that is being loaded may turn it into another.
    """
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else somebody wants it ignored, as ``nohup`` and shells' ``&`` do
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from bridge.cli import main as start  # noqa: PLC0415 - this is what takes a moment

    signal.signal(signal.SIGINT, usual)
    start()


if __name__ == "__main__":
    main()
