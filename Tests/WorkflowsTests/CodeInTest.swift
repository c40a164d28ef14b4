import Contracts
import Serving
import Storage
import Synchronization
import Workers

/// Models with code of their own, whose loading takes until it is let go on.
final class CodeInTest: CodeModels {
    private let isOpen = Mutex(true)
    private let waiting = Mutex(0)
    var loads: Int { waiting.withLock { $0 } }

    func close() { isOpen.withLock { $0 = false } }
    func open() { isOpen.withLock { $0 = true } }

    func runner(_ bundle: ModelBundle, _ objects: any ObjectStore) async throws -> any ModelRunner {
        waiting.withLock { $0 += 1 }
        while !isOpen.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(2)) }
        return Runner()
    }

    func sweep(keeping bundles: [ModelBundle], at now: Timestamp, dryRun: Bool) async throws -> Int { 0 }

    func protections() async throws -> [ProgramProtection] { [] }

    private struct Runner: ModelRunner {
        var lane: ModelLane { .pooled(threads: 1) }

        func run(_ inputs: Table, params: JSON, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
            try Table([(name: "score", column: Column(.float32, .float32(Array(repeating: 0.25, count: inputs.rowCount))))])
        }
    }

    /// A bundle of a model with code whose one file has this text, stored untried.
    static func bundle(_ text: String, in objects: FolderObjectStore) async throws -> (bundle: ModelBundle, digest: Digest) {
        let bytes = Array(text.utf8)
        let bundle = ModelBundle(
            flavor: .python, files: [.init(path: "MLmodel", digest: try await objects.put(bytes), bytes: bytes.count)], main: "MLmodel",
            signature: Signature(inputs: [.init("x", .float64)], outputs: [.init("score", .float32)]))
        return (bundle, try await objects.put(bundle.json.canonical))
    }
}
