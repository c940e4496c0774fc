"""What every training shares: steps, checkpoints, processes, averaged weights."""
