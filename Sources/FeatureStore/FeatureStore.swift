import Contracts
import Synchronization

/// Features, defined once and executed by three engines that agree: online (state in memory), in batch (DuckDB) and at request time.
///
/// The online state is a pure function of the datasets' rows in order of arrival: a `FeatureDraft` is filled with the history beside what is in force,
/// and then adopted. `FeatureState` is a copy of it for the disk, so that the next start need not read all of the history.
///
/// Thread-safe. `apply` for one dataset must not run twice at the same time (the order of arrival decides ties), nor beside the `adopt` of a draft that
/// makes the state of this dataset's views anew. Drafts are made and adopted one after another.
public final class FeatureStore: Sendable {
    private struct State: Sendable {
        var catalog = FeatureCatalog()
        var views: [String: OnlineView] = [:]
        /// Views of drafts that rows reach too, by dataset.
        var following: [String: [OnlineView]] = [:]
        /// Views without state, and why.
        var broken: [String: KeelError] = [:]
        /// By dataset; of every dataset that a view ever read.
        var arrivals: [String: Arrivals] = [:]

        mutating func arrivals(of dataset: String) -> Arrivals {
            if let known = arrivals[dataset] { return known }
            let made = Arrivals()
            arrivals[dataset] = made
            return made
        }

        /// Why a view has no state; nil when it has.
        func problem(of view: String, in draft: FeatureDraft?) -> KeelError? {
            guard let draft, draft.fresh[view] != nil else { return broken[view] }
            return draft.broken.withLock { $0[view] }
        }

        mutating func forget(_ draft: FeatureDraft) {
            for dataset in draft.datasets {
                following[dataset]?.removeAll { view in draft.fresh.values.contains { $0 === view } }
            }
        }
    }
    private let state = Mutex(State())
    let clock: any Clock
    private let seed: UInt64
    private let version: String

    /// - Parameters:
    ///   - seed: a secret, so that nobody can choose keys that collide. A store reads the `FeatureState` of another only when their seeds are equal.
    ///   - version: of the program. What another version computed is not read either.
    public init(clock: any Clock = SystemClock(), seed: UInt64 = .random(in: .min ... .max), version: String = "") {
        self.clock = clock
        self.seed = seed
        self.version = version
    }

    private func online(_ view: DatasetView) -> OnlineView {
        OnlineView(view, state.withLock { $0.arrivals(of: view.dataset) }, seed: seed, version: version)
    }

    /// The catalogue in force.
    public var catalog: FeatureCatalog { state.withLock { $0.catalog } }

    /// Begins a change to another catalogue: new and changed views get state of their own, the others keep theirs.
    public func draft(_ catalog: FeatureCatalog) -> FeatureDraft {
        let known = state.withLock { $0.views }
        var fresh: [String: OnlineView] = [:]
        for (name, view) in catalog.views where known[name]?.view.identity != view.identity { fresh[name] = online(view) }
        return FeatureDraft(catalog: catalog, fresh: fresh)
    }

    /// Begins to make the state of every view over a dataset anew.
    public func draft(rebuilding dataset: String) -> FeatureDraft {
        let catalog = catalog
        return FeatureDraft(catalog: catalog, fresh: catalog.views.filter { $0.value.dataset == dataset }.mapValues { online($0) })
    }

    /// Lets rows that `apply` brings reach the views of a draft too, from now on until `adopt` or `discard`.
    public func follow(_ draft: FeatureDraft, dataset: String) {
        state.withLock { $0.following[dataset, default: []] += draft.views(of: dataset) }
    }

    /// Puts a draft in force, all of it at once. Until then what was in force answers; plans made before go on with the views they had, or with their
    /// new state when only that was made anew.
    public func adopt(_ draft: FeatureDraft) {
        state.withLock { state in
            var views: [String: OnlineView] = [:]
            for name in draft.catalog.views.keys {
                let known = state.views[name]
                if let fresh = draft.fresh[name] {
                    if let known, known.view.identity == fresh.view.identity {
                        known.exchange(with: fresh)
                        views[name] = known
                    } else {
                        views[name] = fresh
                    }
                } else {
                    views[name] = known
                }
            }
            state.catalog = draft.catalog
            state.views = views
            state.broken = state.broken.filter { draft.fresh[$0.key] == nil && views[$0.key] != nil }
            state.broken.merge(draft.broken.withLock { $0 }) { $1 }
            state.forget(draft)
        }
    }

    /// Gives a draft up: what is in force stays.
    public func discard(_ draft: FeatureDraft) { state.withLock { $0.forget(draft) } }

    /// Datasets that some view reads, sorted.
    public var sources: [String] { Set(state.withLock { $0.views.values.map(\.view.dataset) }).sorted() }

    /// Whether some view over the dataset has no state, because its history could not be read.
    public func isBroken(_ dataset: String) -> Bool {
        state.withLock { state in state.broken.keys.contains { state.views[$0]?.view.dataset == dataset } }
    }

    /// Adds rows of a dataset, in order of arrival, to every view over it.
    ///
    /// - Parameter time: when the last of them was accepted; nil when that is not kept.
    /// - Throws: `contractViolation` when a column has a type that cannot be converted to the one that the contract says.
    public func apply(dataset: String, rows: Table, acceptedUpTo time: Timestamp? = nil) throws(KeelError) {
        let now = clock.now().microseconds
        if let time { state.withLock { $0.arrivals(of: dataset) }.willShow(upTo: time.microseconds) }
        for view in views(of: dataset) { try view.apply(rows, now: now) }
    }

    /// Runs a push into a dataset: what accepts its rows and applies them. Until it ends, reads note that they may have seen its rows or not.
    public func pushing<T>(into dataset: String, _ body: () -> T) -> T {
        let arrivals = state.withLock { $0.arrivals(of: dataset) }
        arrivals.beginPush(clock.now().microseconds)
        defer { arrivals.endPush() }
        return body()
    }

    /// As `pushing`, for what takes rows in by files and makes the features anew. Several may overlap.
    ///
    /// - Parameter body: calls what it is given just before its rows are given the time at which they came; only from then on do reads note that they may have
    ///   seen its rows or not. To read a file may take hours.
    public func loading<T: Sendable>(
        into dataset: String, _ body: (_ willTakeTime: @escaping @Sendable () -> Void) async throws -> T
    ) async rethrows -> T {
        let arrivals = state.withLock { $0.arrivals(of: dataset) }
        let load = Load(arrivals)
        defer { load.end() }
        return try await body { [clock] in load.begin(clock.now().microseconds) }
    }

    /// One that takes rows in by files.
    private final class Load: Sendable {
        private let arrivals: Arrivals
        private let begun = Mutex<Int64?>(nil)

        init(_ arrivals: Arrivals) { self.arrivals = arrivals }

        func begin(_ now: Int64) {
            begun.withLock { begun in
                guard begun == nil else { return }
                begun = now
                arrivals.beginLoad(now)
            }
        }
        func end() {
            begun.withLock { begun in
                if let begun { arrivals.endLoad(begun) }
                begun = nil
            }
        }
    }

    private func views(of dataset: String) -> [OnlineView] {
        state.withLock { state in
            state.views.values.filter { $0.view.dataset == dataset }.sorted { $0.view.name < $1.view.name }
                + (state.following[dataset] ?? [])
        }
    }

    /// How requests to a model become its inputs.
    ///
    /// - Parameters:
    ///   - inputs: the model's inputs in order: features of the service, or columns of the request.
    ///   - draft: when given, the plan is for when this is in force; it reads the same views then.
    public func plan(
        service: String, inputs: [Signature.Input], in draft: FeatureDraft? = nil
    ) throws(KeelError) -> OnlinePlan {
        let result: Result<OnlinePlan, KeelError> = state.withLock { state in
            Result { () throws(KeelError) in
                let service = try (draft?.catalog ?? state.catalog).resolved(service)
                for use in service.uses {
                    guard let problem = state.problem(of: use.view.name, in: draft) else { continue }
                    throw KeelError(
                        .unavailable, "the features of view '\(use.view.name)' are not there: \(problem.message)",
                        hint: problem.hint ?? "see keel doctor, and ingest dataset '\(use.view.dataset)' again")
                }
                let views = service.uses.compactMap { draft?.fresh[$0.view.name] ?? state.views[$0.view.name] }
                return try OnlinePlan(service, views: views, inputs: inputs, clock: clock)
            }
        }
        return try result.get()
    }

    /// The request's columns and the service's features for each row, typed; for people and for the feature API.
    public func read(service: String, request: Table) throws(KeelError) -> Table {
        try plan(service: service, inputs: []).read(request)
    }

    // MARK: State for the disk

    /// What the state of a draft's views over a dataset is made from when their history is whole.
    public func basis(of draft: FeatureDraft, dataset: String, origin: String) -> FeatureBasis {
        FeatureBasis(origin: origin, draft.views(of: dataset))
    }

    /// What the state of the views over a dataset is made from; nil when there are none, or one of them lacks its history.
    public func basis(of dataset: String) -> FeatureBasis? {
        state.withLock { FeatureBasis($0.views.values.filter { $0.view.dataset == dataset }) }
    }

    /// The state of the views over a dataset as it is now, retained and not copied; nil where `basis` is.
    ///
    /// No rows of the dataset may be applied meanwhile. It takes microseconds, whatever the number of keys.
    public func retain(dataset: String) -> FeatureState? {
        state.withLock { state in
            let views = state.views.values.filter { $0.view.dataset == dataset }.sorted { $0.view.name < $1.view.name }
            return FeatureBasis(views).map { FeatureState(basis: $0, views: views.map { $0.retain() }) }
        }
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
