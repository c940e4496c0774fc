"""Nothing about a machine leaves it unasked: libraries that would report their use are told not to.

ONNX Runtime 1.32 and later otherwise keep a device id and a queue of usage data below the home
directory, with a thread to send them. Whoever wants that sets ``ORT_DISABLE_TELEMETRY=0``.
"""

import os


def decline_telemetry() -> None:
    """Switch the telemetry of libraries off; to be called before they are imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
