"""Image classifiers, whose features and recognition rates measure generated images, and those that come along."""
