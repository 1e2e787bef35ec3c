"""The typed configuration and the checks that need no torch."""
