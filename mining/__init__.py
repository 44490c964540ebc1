"""The science: arrays in, results out. Nothing here imports ray."""
