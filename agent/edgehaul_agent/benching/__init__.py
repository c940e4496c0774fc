"""``edgehaul-agent bench``: what the real pipeline costs on this box, stage by stage."""
