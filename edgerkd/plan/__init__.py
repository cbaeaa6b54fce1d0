"""Which student fits a budget."""
