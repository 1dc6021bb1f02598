"""What visitors take away: figures as files, the page as a hand-out, the engine calls as Python."""
