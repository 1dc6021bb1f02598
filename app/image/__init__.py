"""What the "Your image" page is made of: how a picture gets in, what is asked of it, what is drawn."""
