"""Training: one loop, AdamW with a mean of the weights, saved states, draws as functions of the step."""
