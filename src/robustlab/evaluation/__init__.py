"""Evaluation: classifiers on perturbed images, image by image, and the figures that follow."""
