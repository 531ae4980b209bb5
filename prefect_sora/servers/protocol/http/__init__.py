"""HTTP: how requests leave, and the one gate through which every answer comes in."""
