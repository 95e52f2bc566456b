"""A local web page over a folder of runs, which it reads and never writes."""
