SMALL = {"steps": 2, "batch": 3, "groups": 2, "samples": 2, "epochs": 5, "learning_rate": 2e-5}
BAD = {"kappa": 0.0}
PIECES = {"micro_batch": 1}
