"""What happened: life of tracks, line crossings, anomalies."""
