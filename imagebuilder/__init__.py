"""imagebuilder turns recipes into tested, published PXE images."""
