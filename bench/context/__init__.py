"""What a long chat's prompt holds: what comes back into it, and what it costs."""
