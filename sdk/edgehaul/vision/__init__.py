"""Pictures in, detections out: the only implementation, on the host and on the device alike."""
