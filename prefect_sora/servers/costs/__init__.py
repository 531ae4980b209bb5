"""What renders cost: what servers tell of it afterwards, and what their catalogues ask."""
