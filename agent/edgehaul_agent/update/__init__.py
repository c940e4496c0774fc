"""Installation of models into two slots, so that a power cut never leaves the box without one."""
