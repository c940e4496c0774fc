"""The training of classifiers of whole pictures."""
