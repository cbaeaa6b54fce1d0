"""Training: losses, methods, trainer, checkpoints."""
