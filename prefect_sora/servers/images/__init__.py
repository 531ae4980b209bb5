"""Image models: what each offers and takes, and what is refused of it."""
