"""A local page that shows what teacher and student answer, side by side."""
