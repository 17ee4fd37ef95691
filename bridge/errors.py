"""One class per recovery. Who catches what is decided by the class alone; nobody looks at status codes.

::

    BridgeError
    ├── ConfigError        the operator edits the configuration; exit status 2
    ├── AuthError          one refresh and one replay, then this account stops and says so
    ├── Throttled          wait ``retry_after`` seconds, then the same request again
    ├── Unavailable        certainly not applied (or a read): the same request again, later
    ├── Ambiguous          may have been applied: only proof decides (see ``ports.Proof``)
    ├── Refused            the vendor understood and said no to the whole request: do not repeat it
    ├── Drift              the answer is not what the contract promises: keep the cursor, alarm
    ├── RecordInvalid      one record cannot be read: quarantine it, go on
    ├── RowRejected        one row cannot be sent: reject it with a code, go on
    └── StoreError         the database said no: stop the step; nothing was half done
        ├── LockHeld       another process works for this tenant, or renews this account's token: wait for it
        └── LockLost       the database dropped this process's lock: another one may have it; stop, take it again

Messages tell what to do next, and hold no phone, e-mail, token or URL query.
"""

from __future__ import annotations


class BridgeError(Exception):
    """Root of every error this project raises on purpose."""


class ConfigError(BridgeError):
    """The configuration is wrong. The message names the file and the key."""


class AuthError(BridgeError):
    """Credentials refused. ``is_final`` when a refresh cannot help (a ban, a revoked or long-lived token).

    ``stop_for``: seconds for which asking again would do harm (a ban); None leaves that to the account.
    """

    def __init__(self, message: str, *, is_final: bool = False, stop_for: float | None = None) -> None:
        super().__init__(message)
        self.is_final = is_final
        self.stop_for = stop_for


class Throttled(BridgeError):
    """Too many requests; nothing was applied. ``retry_after`` in seconds, None if the vendor did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(BridgeError):
    """The vendor cannot answer now and certainly did not apply the request (or it was a read)."""


class Ambiguous(BridgeError):
    """A write was sent and its answer is lost: it may or may not have been applied."""


class Refused(BridgeError):
    """The vendor refused the whole request for good. ``code`` is the vendor's, for logs and ``explain``."""

    def __init__(self, message: str, *, code: str = "refused") -> None:
        super().__init__(message)
        self.code = code


class Drift(BridgeError):
    """The vendor answered something the contract does not allow (HTML, cut JSON, a missing or repeated page)."""


class RecordInvalid(BridgeError):
    """One record of a source cannot be understood. ``code`` is stable, for counting."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class RowRejected(BridgeError):
    """One row can never be sent to this destination. ``code`` is stable, for counting."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class StoreError(BridgeError):
    """The database refused; the transaction was rolled back."""


class LockHeld(StoreError):
    """Somebody else holds this lock."""


class LockLost(StoreError):
    """A lock of ours ended before our work did; what was committed stays."""
