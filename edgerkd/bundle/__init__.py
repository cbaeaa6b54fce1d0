"""The one thing that crosses from the host to the device: graphs, replay set, manifest."""
