SMALL = {"steps": 4, "batch": 2, "learning_rate": 1e-3}
BAD = {"steps": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {"bayesian": {"SMALL": {"bayesian": True, "kl_weight": 1e-3}, "BAD": {"sigma": 0.0}, "PIECES": {}}}
