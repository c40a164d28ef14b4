import Tracking

/// A key that logged models are ordered by, as a client writes it.
public struct LoggedModelOrderText: Sendable, Hashable {
    /// An attribute, or `metrics.KEY`.
    public let field: String
    public let ascending: Bool
    /// The dataset that the metric is of; nil for any.
    public let dataset: LoggedModelSearch.Dataset?

    public init(field: String, ascending: Bool = true, dataset: LoggedModelSearch.Dataset? = nil) {
        self.field = field
        self.ascending = ascending
        self.dataset = dataset
    }

    /// - Parameter text: `metrics.auc DESC`
    public init(_ text: String) {
        let words = text.split(separator: " ")
        let last = words.count > 1 ? words[words.count - 1].uppercased() : ""
        let isDirection = last == "DESC" || last == "ASC"
        self.init(field: words.dropLast(isDirection ? 1 : 0).joined(separator: " "), ascending: last != "DESC")
    }
}
