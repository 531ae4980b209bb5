"""How a server is spoken to: OpenAI's video protocol over HTTP, its answers and its errors."""
