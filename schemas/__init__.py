"""What tables and settings mean: Arrow schemas, pydantic settings, errors."""
