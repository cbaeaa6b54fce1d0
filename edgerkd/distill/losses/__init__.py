"""The terms a student is trained on, one idea a file."""
