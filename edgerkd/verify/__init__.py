"""What runs on the device, without torch: build the engine, attack it, decide."""
