"""Attacks, written once over `Classifier`, on any library of the Python array API standard."""
