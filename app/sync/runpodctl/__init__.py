"""Models to a pod by `runpodctl send` and `receive`: staged as links, sent, laid in place by a script."""
