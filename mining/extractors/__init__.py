"""Extractors that measure images behind one protocol, and their registry."""
