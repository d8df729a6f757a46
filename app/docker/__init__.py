"""Docker through its command line: found, asked, and had to build, send and run images. Knows no Qt."""
