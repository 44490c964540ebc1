"""Image generators behind one protocol, and their registry."""
