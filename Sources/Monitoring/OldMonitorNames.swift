import Contracts
import Storage

/// Monitors of homes from before monitors had environments: their rows name them, and their endpoints, without one.
extension MonitoringService {
    /// The old names, in the workspace `default`, about which nothing is decided yet.
    public static func undecidedNames(in db: some Querying) throws -> [String] {
        try db.rows("SELECT monitor FROM old_monitor_names ORDER BY monitor").map { $0.text("monitor") }
    }

    /// Decides where the monitor of an old name is, and gives its rows its name there.
    public static func decide(_ name: String, is environment: EnvironmentName, in tx: Transaction) throws {
        let changed = try tx.execute("DELETE FROM old_monitor_names WHERE monitor = ?", [.string(name)])
        guard changed > 0 else { return }
        for table in ["monitor_windows", "monitor_marks"] { try rename("Monitor", name, to: environment, "monitor", of: table, tx) }
    }

    /// Gives the windows of an endpoint its name in its environment.
    public static func decide(endpoint name: String, is environment: EnvironmentName, in tx: Transaction) throws {
        try rename("Endpoint", name, to: environment, "endpoint", of: "monitor_windows", tx)
    }

    private static func rename(
        _ kind: String, _ name: String, to environment: EnvironmentName, _ column: String, of table: String, _ tx: Transaction
    ) throws {
        let new = ResourceRef(kind, name, environment: environment).qualifiedName
        guard new != name else { return }
        try tx.execute(
            "UPDATE \(table) SET \(column) = ? WHERE workspace = ? AND \(column) = ?",
            [.string(new), .string(WorkspaceID.default.name), .string(name)])
    }
}
