"""State: what a renderer keeps in its folder: jobs, characters, images and their files."""
