"""Back-ends: one file each, an Exporter and a Runtime, found by entry point."""
