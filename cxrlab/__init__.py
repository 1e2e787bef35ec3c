"""Config-driven experiments for disease classification from chest X-rays."""

from __future__ import annotations

__version__ = "0.1.0"
