SMALL = {"batch": 2}
BAD = {"batch": 0}
PIECES = {"batch": 1}
