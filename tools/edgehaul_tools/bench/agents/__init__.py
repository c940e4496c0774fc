"""``edgehaul bench agent``: our agent beside other ways to run a detector on a clip."""
