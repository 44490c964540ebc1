"""Exchange with other tools: read their files of directions, write files that they read."""
