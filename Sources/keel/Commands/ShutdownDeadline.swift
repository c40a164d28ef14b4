import Contracts
import Dispatch
import Foundation
import Logging
import ServiceLifecycle
import Synchronization

/// Ends the process when a stop takes longer than it may: nothing that hangs (a disk, a client, a step) holds it. As the last service of its group it
/// is the first that is told to stop.
final class ShutdownDeadline: Service {
    private let duration: TimeSpan
    private let logger: Logger
    private let unwritten: @Sendable () -> Int
    private let begun = Atomic(false)

    /// - Parameter unwritten: how many predictions are in the journal and not in the table.
    init(duration: TimeSpan, logger: Logger, unwritten: @escaping @Sendable () -> Int) {
        self.duration = duration
        self.logger = logger
        self.unwritten = unwritten
    }

    /// Whether the server was told to stop.
    var hasBegun: Bool { begun.load(ordering: .relaxed) }

    func run() async throws {
        try await gracefulShutdown()
        begun.store(true, ordering: .relaxed)
        DispatchQueue.global().asyncAfter(deadline: .now() + duration.seconds) { [self] in
            logger.critical(
                "the stop took longer than \(duration) (shutdown.deadline) and was ended; \(unwritten()) predictions are in the journal only, the next start puts them in the table"
            )
            _exit(1)
        }
    }
}
