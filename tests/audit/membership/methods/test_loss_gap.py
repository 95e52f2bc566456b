SMALL = {"levels": 4}
BAD = {"levels": 0}
PIECES = {"micro_batch": 1}
