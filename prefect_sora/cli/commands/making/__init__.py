"""Commands that make something: clips, pictures, films, batches."""
