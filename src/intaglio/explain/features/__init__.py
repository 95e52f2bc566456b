"""Features by labels: how well labels of pictures can be read from the representations of networks."""
