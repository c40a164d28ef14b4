import Contracts
import Synchronization

/// The features of every workspace: a store for each, as names are unique inside of one and a draft replaces all that one has.
public final class FeatureStores: Sendable {
    private let stores = Mutex<[WorkspaceID: FeatureStore]>([:])
    private let clock: any Clock
    private let seed: UInt64
    private let version: String

    /// - Parameters: as of `FeatureStore`.
    public init(clock: any Clock = SystemClock(), seed: UInt64, version: String = "") {
        self.clock = clock
        self.seed = seed
        self.version = version
    }

    /// The store of a workspace, made when it is first asked for. Ask with a workspace that is known to be there, such as a grant's.
    public subscript(workspace: WorkspaceID) -> FeatureStore {
        stores.withLock { stores in
            if let store = stores[workspace] { return store }
            let made = FeatureStore(clock: clock, seed: seed, version: version)
            stores[workspace] = made
            return made
        }
    }

    /// Every store that was asked for, by workspace, that of `default` first.
    public var all: [(workspace: WorkspaceID, store: FeatureStore)] {
        stores.withLock { $0 }.map { ($0.key, $0.value) }.sorted {
            ($0.workspace == .default ? "" : $0.workspace.name) < ($1.workspace == .default ? "" : $1.workspace.name)
        }
    }

    /// Every dataset that some view reads.
    public var sources: [ResourceRef] {
        all.flatMap { workspace, store in store.sources.map { ResourceRef("Dataset", $0, in: workspace) } }
    }
}
