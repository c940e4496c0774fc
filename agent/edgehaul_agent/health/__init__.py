"""How the agent itself is doing."""
