"""Access: a server's address, its tokens, and the account that asks."""
