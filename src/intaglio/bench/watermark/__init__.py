"""`intaglio bench watermark`."""
