"""Sweeps: a grid becomes cells, and each cell runs once, in a process of its own."""
