"""What the Layers page is made of: measures of the statistics, their views, and the mixer of AP."""
