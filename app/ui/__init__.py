"""The window: thin Qt views over the services. Only this package and ``app.main`` may import Qt."""
