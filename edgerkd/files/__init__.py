"""Reading and writing files so that nothing is ever half written or half read."""
