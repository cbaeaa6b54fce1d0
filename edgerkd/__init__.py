"""edgerkd: robust students for edge devices, distilled, exported and attacked on the device itself."""

import os

__version__ = "0.1.0"

# ONNX Runtime from 1.29 on writes a device id into the user's cache and queues events for its maker; it reads this
# when it is first imported. Whoever wants that sets the variable to 0 before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
