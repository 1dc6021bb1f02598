"""What the Paper page is made of."""
