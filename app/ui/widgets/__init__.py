"""The building blocks of every page. They know the theme and nothing of jobs."""
