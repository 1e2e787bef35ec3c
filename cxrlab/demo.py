"""`python -m cxrlab.demo`: a local page that shows what a run makes of an image."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from cxrlab.config.app import command
from cxrlab.errors import UserError, warn
from cxrlab.ports import check_port, http_address

if TYPE_CHECKING:
    from cxrlab.config.commands import DemoConfig

_PACKAGES = ("starlette", "uvicorn")
_OWN = ("127.0.0.1", "localhost", "::1")


@command("demo", schema="DemoConfig")
def main(config: DemoConfig) -> None:
    """Refuse what can't be served before anything heavy is imported, then serve until Ctrl-C."""
    check_installed()
    check_port(config.host, config.port)
    if config.host not in _OWN:
        warn(
            f"host={config.host}: whoever reaches this machine can use the page, without a "
            "password and unencrypted; take host=127.0.0.1 to keep it to yourself"
        )
    from cxrlab.allocator import keep_freed_memory
    from cxrlab.serving.demo.server import demo_app, serve
    from cxrlab.serving.runs import find_checkpoint

    checkpoint = find_checkpoint(config.run, config.tracking)
    keep_freed_memory()
    app = demo_app(checkpoint, config)
    address = http_address(config.host, config.port)
    print(f"demo: {address} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    serve(app, config.host, config.port)


def check_installed() -> None:
    """Refuse to start where a package that serves the page is missing.

    Raises:
        UserError: names the packages, and the extra that brings them.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)} not installed; pip install 'cxrlab[demo]'")


if __name__ == "__main__":
    main()
