"""Requests: what a client asks for, read from JSON or a form and checked as OpenAI checks it."""
