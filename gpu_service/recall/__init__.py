"""Recall: older messages of a chat that bear on a new one, found by an index over the chat itself."""
