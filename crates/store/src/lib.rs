//! Engine traits for accounts, content and the directory; the memory and embedded engines; their contract suite.
