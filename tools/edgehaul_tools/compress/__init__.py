"""The search for the smallest and fastest model that is still as good."""
