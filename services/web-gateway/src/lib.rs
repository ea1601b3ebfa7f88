//! HTTP access to the mail store.
