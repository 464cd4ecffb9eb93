"""From text to masked batches: read, tokenise, pack, store, shuffle, mask."""
