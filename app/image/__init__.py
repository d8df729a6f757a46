"""The image that runs on RunPod: manifest, lock, build context, proof, deployment. Knows no Qt."""
