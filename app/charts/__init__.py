"""Pictures of results: pure functions from numbers to Altair charts and image bytes."""
