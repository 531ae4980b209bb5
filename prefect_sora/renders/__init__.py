"""The way of a render, from a request to a kept video, in plain async Python."""
