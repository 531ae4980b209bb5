"""What a store holds, read from its records alone."""
