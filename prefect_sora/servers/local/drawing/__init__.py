"""Drawing: the prompt as a moving landscape or a still image; given pictures changed by it."""
