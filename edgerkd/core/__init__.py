"""Plain data and rules; the standard library only."""
