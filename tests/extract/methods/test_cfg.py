SMALL = {"generations": 12, "pictures": 3, "steps": 3, "batch": 4, "patience": 0}
BAD = {"scale": 0.5}
PIECES = {"batch": 2}
