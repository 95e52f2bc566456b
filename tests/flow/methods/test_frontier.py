SMALL = {"batch": 2, "tolerance": 1e-6}
BAD = {"tolerance": -1.0}
PIECES = {"batch": 1}
