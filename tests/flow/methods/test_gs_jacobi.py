SMALL = {"batch": 2, "segments": (3,)}
BAD = {"other_sweeps": 0}
PIECES = {"batch": 1}
