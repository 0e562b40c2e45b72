"""Sequential verdicts: the evidence is looked at after every batch, and a certain one ends it."""
