"""The EdgeHaul agent: runs models on a box and reports over MQTT."""

from edgehaul.privacy import decline_telemetry

decline_telemetry()  # here, since whatever imports onnxruntime is below this package
