"""Pure rules of the product: standard library only, no input or output; time and ids are arguments."""
