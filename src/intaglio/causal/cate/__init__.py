"""Effects of a treatment that differ between units: who gains more, told from features of them or of their pictures."""
