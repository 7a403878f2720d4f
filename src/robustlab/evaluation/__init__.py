"""Evaluation: classifiers on perturbed images, image by image, and their figures."""
