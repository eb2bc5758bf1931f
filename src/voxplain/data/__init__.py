"""Files and geometry: images, cases, preparation, attributions (the only floor that touches image files)."""
