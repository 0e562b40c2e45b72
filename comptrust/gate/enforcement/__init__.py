"""The gate inside the registry server: an MLflow plug-in that lets only proven versions reach a
guarded stage or alias.
"""
