"""What the Attack page is made of: films of one attack, its strength, and the closer looks."""
