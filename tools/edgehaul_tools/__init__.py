"""The EdgeHaul host tools: from a dataset to a proved bundle on a device."""

from edgehaul.privacy import decline_telemetry

decline_telemetry()  # here, since whatever imports onnxruntime is below this package
