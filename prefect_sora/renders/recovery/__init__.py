"""What was left behind: renders taken up from the records alone, and what is cleaned up."""
