"""`ClipThresholdFinder`, and the stretch of training on which it measures."""
