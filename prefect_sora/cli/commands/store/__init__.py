"""Commands about what a store holds, from its records alone; no server is asked."""
