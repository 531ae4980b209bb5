"""What to render: requests, prompts, their templates, reference pictures, tables, storyboards."""
