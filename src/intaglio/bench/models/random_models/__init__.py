"""Random models in the layouts of the families: built in a blink, for benches and tests."""
