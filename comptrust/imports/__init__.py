"""Evaluations that other harnesses made: read a dense and a candidate log, and pair them."""
