"""Find faces: from a picture's view to Detections."""
