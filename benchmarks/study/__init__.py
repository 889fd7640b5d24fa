"""A study of regularized losses on real photos: the same net, data, updates and seeds for every loss."""
