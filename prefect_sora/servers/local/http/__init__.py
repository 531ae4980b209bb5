"""HTTP: the routes of the protocol, the gate before them, and what they answer."""
