"""Data sets: read, checked and split in NumPy; then as tensors on the device that trains, and augmented there."""
