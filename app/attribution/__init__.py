"""What the Attribution page is made of."""
