"""`intaglio bench purify`."""
