SMALL = {}
BAD = {"micro_batch": 0}
PIECES = {"micro_batch": 1}
