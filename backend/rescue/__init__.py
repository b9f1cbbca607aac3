"""What is done about a host that died: proof, incidents, and starting its servers elsewhere."""
