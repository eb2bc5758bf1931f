"""Pure tensor functions that know neither networks nor millimetres."""
