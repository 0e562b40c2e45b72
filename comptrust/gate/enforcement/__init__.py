"""The gate inside the registry server, as an MLflow plug-in.

Only proven versions reach a guarded stage or alias.
"""
