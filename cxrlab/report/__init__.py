"""One HTML file that says what a finished run found and how far it can be trusted."""
