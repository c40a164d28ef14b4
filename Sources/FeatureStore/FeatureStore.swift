import Contracts
import Synchronization

/// Features, defined once and executed by three engines that agree: online (state in memory), in batch (DuckDB) and at request time.
///
/// The online state is a pure function of the datasets' rows in order of arrival. It keeps nothing on disk: after a start, and for the
/// datasets that `configure` returns, give it the history again with `reset` and `apply`.
///
/// Thread-safe. `apply` for one dataset must not run twice at the same time (the order of arrival decides ties).
public final class FeatureStore: Sendable {
    private struct State: Sendable {
        var catalog = FeatureCatalog()
        var views: [String: OnlineView] = [:]
    }
    private let state = Mutex(State())
    let clock: any Clock

    public init(clock: any Clock = SystemClock()) { self.clock = clock }

    /// The catalogue in force.
    public var catalog: FeatureCatalog { state.withLock { $0.catalog } }

    /// Puts a checked catalogue in force. Views that did not change keep their state; plans made before go on with the views they had.
    ///
    /// - Returns: the datasets with new or changed views, sorted: `reset` each and `apply` its history in order of time.
    public func configure(_ catalog: FeatureCatalog) -> [String] {
        state.withLock { state in
            var stale: Set<String> = []
            var views: [String: OnlineView] = [:]
            for (name, view) in catalog.views {
                if let known = state.views[name], known.view.identity == view.identity {
                    views[name] = known
                } else {
                    views[name] = OnlineView(view)
                    stale.insert(view.dataset)
                }
            }
            state = State(catalog: catalog, views: views)
            return stale.sorted()
        }
    }

    /// Checks the specs and puts them in force; nothing changes when one is wrong.
    public func configure(
        entities: [EntitySpec], views: [FeatureViewSpec], services: [FeatureServiceSpec], datasets: [String: Schema]
    ) throws(KeelError) -> [String] {
        configure(try FeatureCatalog(entities: entities, views: views, services: services, datasets: datasets))
    }

    /// Datasets that some view reads, sorted.
    public var sources: [String] { Set(state.withLock { $0.views.values.map(\.view.dataset) }).sorted() }

    /// Adds rows of a dataset, in order of arrival, to every view over it.
    ///
    /// - Throws: `contractViolation` when a column is missing or of another type than the dataset's contract says.
    public func apply(dataset: String, rows: Table) throws(KeelError) {
        let now = clock.now().microseconds
        for view in views(of: dataset) { try view.apply(rows, now: now) }
    }

    /// Forgets the online state of every view over a dataset.
    public func reset(dataset: String) {
        for view in views(of: dataset) { view.reset() }
    }

    private func views(of dataset: String) -> [OnlineView] {
        state.withLock { $0.views.values.filter { $0.view.dataset == dataset }.sorted { $0.view.name < $1.view.name } }
    }

    /// How requests to a model become its inputs.
    ///
    /// - Parameter inputs: the model's inputs in order: features of the service, or columns of the request.
    public func plan(service: String, inputs: [Signature.Input]) throws(KeelError) -> OnlinePlan {
        let result: Result<OnlinePlan, KeelError> = state.withLock { state in
            Result { () throws(KeelError) in
                let service = try state.catalog.resolved(service)
                return try OnlinePlan(service, views: service.uses.compactMap { state.views[$0.view.name] }, inputs: inputs, clock: clock)
            }
        }
        return try result.get()
    }

    /// The request's columns and the service's features for each row, typed; for people and for the feature API.
    public func read(service: String, request: Table) throws(KeelError) -> Table {
        try plan(service: service, inputs: []).read(request)
    }

    /// State of each view, for metrics.
    public struct ViewStatistics: Sendable, Hashable {
        public let view: String
        /// Keys in memory.
        public let keys: Int
        /// Reads that asked for a time too far before the newest event of their key to be exact.
        public let inexactReads: Int
    }
    public func statistics() -> [ViewStatistics] {
        state.withLock { $0.views.values.sorted { $0.view.name < $1.view.name } }.map {
            ViewStatistics(view: $0.view.name, keys: $0.keyCount, inexactReads: $0.inexactReads)
        }
    }
}
