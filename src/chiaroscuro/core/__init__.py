"""What everything else is made of: boxes, proposals, targets, masks, similarity, errors."""
