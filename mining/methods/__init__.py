"""Methods that mine directions, one file each."""
