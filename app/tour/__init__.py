"""What the guided tour is made of: its steps, what a network answers to each of them, and the figures."""
