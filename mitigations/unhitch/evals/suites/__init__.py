"""Questions: loaders of files that people have, a suite that ships with unhitch, and the miniature models' own."""
