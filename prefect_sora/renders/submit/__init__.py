"""A render is accepted once: found in the records, adopted at the server, or paid for now."""
