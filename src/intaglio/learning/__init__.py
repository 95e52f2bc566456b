"""What every training loop shares: weights with their optimiser, draws as functions of the step, Ctrl-C that waits."""
