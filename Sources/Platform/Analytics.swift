import Contracts
import Engines
import Synchronization

/// The one DuckDB of the process, opened at first use: a server that only serves never loads it.
public final class Analytics: Sendable {
    private let engine = Mutex<DuckDB?>(nil)
    private let settings: DuckDB.Settings

    public init(settings: DuckDB.Settings) { self.settings = settings }

    public func connect() throws(KeelError) -> DuckDBConnection {
        let opened: Result<DuckDB, KeelError> = engine.withLock { engine in
            if let engine { return .success(engine) }
            do throws(KeelError) {
                let made = try DuckDB(settings: settings)
                engine = made
                return .success(made)
            } catch { return .failure(error) }
        }
        return try opened.get().connect()
    }
}
