"""The commands ``subscribe`` and ``collect``, and a broker for trials."""
