"""Pictures that stay on the box."""
