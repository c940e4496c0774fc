"""Pictures and clips that stay on the box."""
