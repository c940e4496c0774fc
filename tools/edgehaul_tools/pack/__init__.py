"""From a proved model directory to one bundle file."""
