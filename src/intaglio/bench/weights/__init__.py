"""The bench of kernels: trained and untrained layers, and classifiers whose first layer is designed."""
