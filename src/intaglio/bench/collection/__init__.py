"""`intaglio bench collection`."""
