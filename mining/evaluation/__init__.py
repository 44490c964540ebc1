"""What a direction moves, what it leaks, what it costs."""
