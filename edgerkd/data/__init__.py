"""Data sets as uint8 tensors that live on the device, and augmentation there, a batch at a time."""
