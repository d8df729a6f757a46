"""The Image page: manifest, build, test, push and deploy of the serverless image."""
