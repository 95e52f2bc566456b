"""Convolutions by torch's own kernels: a process that imports this does without oneDNN.

oneDNN prepares each small convolution longer than it takes to compute, a third of the time of tiny networks. Processes
whose results are compared bit by bit must do alike.
"""

import torch

torch.backends.mkldnn.set_flags(_enabled=False, _fp32_precision=None)
