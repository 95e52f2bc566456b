SMALL = {"part": "invdiff.safetensors"}
BAD = {"kappa": -0.5}
PIECES = {}
