"""The command's first step. Until its verbs are loaded, which takes a moment, Ctrl-C ends it as it ends any program,
without a word; from then on `interruption` hears it.
"""

from __future__ import annotations

import signal


def main() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from scaflow.flow.cli import app

    app()


if __name__ == "__main__":
    main()
