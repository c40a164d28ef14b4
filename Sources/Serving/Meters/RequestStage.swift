/// A part of a request's way, in the order in which they come.
public enum RequestStage: String, CaseIterable, Sendable {
    /// Reading and checking the request, and finding room for it in the log.
    case decode
    /// Reading features.
    case features
    /// Waiting for a thread, of the server or of the model. Only requests that had to leave their event loop have it.
    case queue
    /// Running the model.
    case model
    /// Making the answer and the log's record.
    case encode
    /// Until the log has the record as durably as the endpoint declares.
    case log
}
