"""Where renders are kept, and the records beside them that say what was paid."""
