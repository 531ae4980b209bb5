"""One Prefect task for each verb, and what their runs show in the UI."""
