"""Scheduling policies side by side, on published traces and a model of an engine."""
