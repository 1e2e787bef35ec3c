"""What an audit means for the training that is about to start."""

from __future__ import annotations

from typing import Literal

from cxrlab.data.audit.findings import Audit
from cxrlab.errors import UserError, warn


def heed(audit: Audit, on_fatal: Literal["stop", "warn"]) -> None:
    """Tell the user of every warning, and stop before results that would mean nothing.

    Args:
        audit: of the data to train on.
        on_fatal: the key `audit` of the configuration.

    Raises:
        UserError: a finding is fatal and `on_fatal` is `stop`.
    """
    fatal = audit.of("fatal")
    if fatal and on_fatal == "stop":
        more = f" (and {len(fatal) - 1} more fatal findings)" if len(fatal) > 1 else ""
        raise UserError(
            f"{fatal[0].message}{more}; `python -m cxrlab.audit` shows all, and audit=warn trains "
            "all the same"
        )
    for finding in (*fatal, *audit.of("warning")):
        warn(f"audit, {finding.severity}: {finding.message}")
