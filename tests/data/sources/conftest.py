from __future__ import annotations

from collections.abc import Callable

import pytest

from cxrlab.data.manifest import Manifest
from cxrlab.data.sources import load_manifest

Load = Callable[..., Manifest]


@pytest.fixture
def load(compose) -> Load:
    """The manifest that overrides of the command line lead to."""
    return lambda *overrides: load_manifest(compose(*overrides).data)
