import Contracts
import Synchronization

/// A catalogue that is not in force yet, with the online state of the views that need it made. See `FeatureStore.adopt`.
public final class FeatureDraft: Sendable {
    let catalog: FeatureCatalog
    let fresh: [String: OnlineView]
    let broken = Mutex<[String: KeelError]>([:])

    init(catalog: FeatureCatalog, fresh: [String: OnlineView]) {
        self.catalog = catalog
        self.fresh = fresh
    }

    /// The datasets whose history is needed, sorted.
    public var datasets: [String] { Set(fresh.values.map(\.view.dataset)).sorted() }

    /// The views whose state is made, sorted.
    public var viewNames: [String] { fresh.keys.sorted() }

    func views(of dataset: String) -> [OnlineView] {
        fresh.values.filter { $0.view.dataset == dataset }.sorted { $0.view.name < $1.view.name }
    }

    /// The columns of the dataset that `apply` needs, each with its type.
    public func columns(of dataset: String) -> [Field] {
        var out: [Field] = []
        for field in views(of: dataset).flatMap(\.view.identity.columns) where !out.contains(field) { out.append(field) }
        return out
    }

    /// Adds rows of the history, in order of arrival.
    ///
    /// - Parameter now: times beyond it do not let keys expire.
    public func apply(dataset: String, rows: Table, now: Timestamp) throws(KeelError) {
        for view in views(of: dataset) { try view.apply(rows, now: now.microseconds) }
    }

    /// A column that says when rows become known, and how far before the newest of them events still count.
    public struct Reach: Sendable, Hashable {
        public let column: String
        public let span: TimeSpan
    }

    /// For each such column how far back the history is needed; nil when all of it is, because some feature has no end. It is twice what a read looks
    /// back, so that reads in the past are exact too.
    public func reach(of dataset: String) -> [Reach]? {
        var spans: [String: Int64] = [:]
        for view in views(of: dataset) {
            guard let coverage = view.coverage else { return nil }
            spans[view.view.at] = max(spans[view.view.at] ?? 0, 2 * coverage)
        }
        return spans.sorted { $0.key < $1.key }.map { Reach(column: $0.key, span: TimeSpan(microseconds: $0.value)) }
    }

    /// Notes that events with a time in `column` before `start` are left out of what `apply` is given.
    public func leavesOut(dataset: String, column: String, before start: Timestamp) {
        for view in views(of: dataset) where view.view.at == column { view.leavesOut(before: start.microseconds) }
    }

    /// Notes that the views over a dataset have all rows of its history.
    /// - Parameters:
    ///   - origin: says which rows those before the stream are (`FeatureBasis`).
    ///   - time: no row came later; nil when that is not known. Reads say that they may have seen all up to then, also when the clock is behind it.
    public func complete(dataset: String, origin: String, acceptedUpTo time: Timestamp? = nil) {
        for view in views(of: dataset) {
            view.origin.withLock { $0 = origin }
            if let time { view.arrivals.willShow(upTo: time.microseconds) }
        }
    }

    /// Notes that the history of a dataset cannot be read: its views will be in force without state, and say so when they are asked.
    public func fail(dataset: String, _ error: KeelError) {
        broken.withLock { broken in for view in views(of: dataset) { broken[view.view.name] = error } }
    }
}
