"""A job is brought home: waited for, or cancelled, fetched, checked and kept."""
