"""The facts of a run, as text, JSON and one HTML page. Nothing is measured here."""
