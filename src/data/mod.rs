//! Data sets: grids, vocabulary, augmentation, shards, samplers. Sees no tensor and no device.
