"""The bench of classifiers that choose their pixels."""
