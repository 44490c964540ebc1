"""Where bytes live: shards with receipts, datasets, the direction catalogue."""
