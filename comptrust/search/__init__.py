"""The search for the smallest checkpoint whose verdict is a pass."""
