"""What one command does on the host, from start to end."""
