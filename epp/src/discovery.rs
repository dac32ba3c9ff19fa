//! Where the endpoints come from: the pods of an `InferencePool`, a label selector, or a file.
