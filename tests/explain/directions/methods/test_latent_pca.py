SMALL = {"samples": 6, "batch": 2, "steps": 2, "count": 1}
BAD = {"count": 0}
PIECES = {"batch": 1}
