"""The prompts of the suite `mini`: one module per dimension, with the same `rows()` everywhere."""
