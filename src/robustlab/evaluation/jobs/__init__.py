"""Jobs: what is done to images, as pure data, and everything on which its outcome depends."""
