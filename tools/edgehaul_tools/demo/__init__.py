"""The demo: every stage in one run, without hardware, and a report of what happened."""
