"""Image classifiers, whose features and recognition rates measure generated images; one of digits is included."""
