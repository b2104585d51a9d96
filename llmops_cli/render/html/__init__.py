"""The report as one page for a browser: it needs no network, no server and no second file."""
