"""`python -m cxrlab.ui`: the MLflow UI on the store that training writes to."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from cxrlab.config.app import command

if TYPE_CHECKING:
    from cxrlab.config.commands import UiConfig


@command("ui", schema="UiConfig")
def main(config: UiConfig) -> None:
    """Serve the store until Ctrl-C."""
    from cxrlab.config.paths import store_dir
    from cxrlab.tracking.store import open_store
    from cxrlab.tracking.ui import refresh_views, ui_address, ui_command

    store = open_store(config.tracking.uri, store_dir())
    arguments, environment = ui_command(store, config.host, config.port)
    refresh_views(store, config.tracking.experiment)
    address = ui_address(store, config.host, config.port, config.tracking.experiment)
    print(f"MLflow UI: {address} (Ctrl-C ends it)", file=sys.stderr)
    subprocess.run(arguments, env=environment, check=True)


if __name__ == "__main__":
    main()
