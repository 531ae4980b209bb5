"""Commands for what a server holds."""
