"""`intaglio bench components`."""
