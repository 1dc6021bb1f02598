"""What the Explore page is made of: the drag component's payload, the live card, and what is computed on demand."""
