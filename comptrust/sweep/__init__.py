"""Sweeps: a grid becomes cells, each cell one idempotent process, one after another here or side by
side on Ray.
"""
