SMALL = {"steps": 4, "batch": 2, "learning_rate": 1e-3}
BAD = {"rank": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {"bayesian": {"SMALL": {"bayesian": True}, "BAD": {"sigma": -1.0}, "PIECES": {}}}
