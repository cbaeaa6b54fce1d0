"""Graphs of lower precision, made from a float32 one."""
