"""What the Compare page is made of: the two sides, and what both networks say of the same images."""
