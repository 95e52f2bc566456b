SMALL = {"batch": 2}
BAD = {"tau": -1.0}
PIECES = {"batch": 1}
