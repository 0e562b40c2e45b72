"""How the original DecodingTrust files become prompts: one file per dimension, one reader for
all."""
