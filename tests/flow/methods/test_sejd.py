SMALL = {"batch": 2}
BAD = {"tau": 0.0}
PIECES = {"batch": 1}
