//! Who touched which word when, and whether a barrier lies between.
