"""Who renders: what each server and each model can do, and what it costs."""
