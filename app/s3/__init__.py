"""A network volume over RunPod's S3 API: calls, and files that go over in parts, resumable and verified."""
