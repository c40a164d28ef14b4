import Contracts
import Foundation
import Synchronization

extension FolderObjectStore {
    public func collect(
        dryRun: Bool, needed: @Sendable () async throws -> Set<Digest>, alsoNeeded: @Sendable (_ prefix: String) async throws -> Set<Digest>
    ) async throws -> Collected {
        try holds.begin()
        defer { holds.end() }
        var collected = Collected()
        let always = try await needed()
        for folder in try await Blocking.run({ try contentFolders() }) {
            let kept = always.union(try await alsoNeeded(folder))
            collected += try await Blocking.run { try collect(folder: folder, kept, dryRun: dryRun) }
        }
        return collected
    }

    private func collect(folder: String, _ needed: Set<Digest>, dryRun: Bool) throws -> Collected {
        var collected = Collected()
        for name in try Folder.names("\(root)/content/\(folder)") {
            guard let digest = Digest(hex: name), !needed.contains(digest) else { continue }
            let path = path(of: digest)
            var status = stat()
            guard stat(path, &status) == 0 else { continue }
            // Nobody can begin to hold it between the question and the removal.
            guard holds.unlessHeld(digest, { dryRun || unlink(path) == 0 }) else { continue }
            collected += Collected(objects: 1, bytes: Int64(status.st_size))
        }
        return collected
    }
}

/// Content on its way to a reference. A collection reads references some time before it removes what has none, so all that was held at any
/// moment since it began counts as needed. Nothing is held across a restart: what had no reference then never gets one.
final class Holds: Sendable {
    private struct State {
        var held: [Digest: (count: Int, since: ContinuousClock.Instant)] = [:]
        /// What was held since the collection under way began; nil when none is.
        var touched: Set<Digest>?
    }
    private let state = Mutex(State())
    /// How long content waits for its reference when nobody settles it.
    private static let waits = Duration.seconds(3600)

    func hold(_ digest: Digest) {
        state.withLock { state in
            state.held[digest] = ((state.held[digest]?.count ?? 0) + 1, .now)
            state.touched?.insert(digest)
        }
    }

    func settle(_ digest: Digest) {
        state.withLock { state in
            guard let hold = state.held[digest] else { return }
            state.held[digest] = hold.count > 1 ? (hold.count - 1, hold.since) : nil
        }
    }

    func begin() throws(KeelError) {
        let begun = state.withLock { state in
            guard state.touched == nil else { return false }
            let now = ContinuousClock.now
            state.held = state.held.filter { now - $0.value.since < Holds.waits }
            state.touched = Set(state.held.keys)
            return true
        }
        guard begun else { throw KeelError(.failedPrecondition, "a collection is under way", hint: "wait until it has ended") }
    }

    func end() { state.withLock { $0.touched = nil } }

    /// Runs `body` unless the content was held since the collection began; says whether it ran and succeeded.
    func unlessHeld(_ digest: Digest, _ body: () -> Bool) -> Bool {
        state.withLock { state in !(state.touched?.contains(digest) ?? true) && body() }
    }
}
