"""Jobs: work on images as pure data, and everything on which its outcome depends."""
