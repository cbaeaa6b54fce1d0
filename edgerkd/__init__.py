"""edgerkd: robust students for edge devices, distilled, exported and proved robust on the device."""

__version__ = "0.1.0"
