import Contracts
import Storage

extension Transaction {
    /// Keeps a measurement and raises its alert; a window that is there already stays as it is and raises none.
    func store(_ measurement: WindowMeasurement) throws {
        let inserted = try execute(
            """
            INSERT INTO monitor_windows (workspace, monitor, kind, until_at, from_at, endpoint, release_number, row_count, late_count, value, alerted, body, closed_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT (workspace, monitor, kind, until_at) DO NOTHING
            """,
            key(measurement.monitor) + [
                .string(measurement.kind.rawValue), .timestamp(measurement.until), .timestamp(measurement.from),
                .string(measurement.endpoint.qualifiedName), .int(Int64(measurement.release)), .int(Int64(measurement.rows)),
                measurement.value.map(Value.double) ?? .null, .int(measurement.alerted ? 1 : 0), .string(measurement.json.text),
                .timestamp(now),
            ])
        if inserted > 0, measurement.alerted {
            try record("monitor.alert", on: measurement.monitor.subject, measurement.alert, by: .system("monitoring", in: measurement.monitor.workspace))
        }
    }

    func addLate(_ count: Int, monitor: ResourceRef, kind: WindowMeasurement.Kind, until: Timestamp) throws {
        try execute(
            "UPDATE monitor_windows SET late_count = late_count + ? WHERE workspace = ? AND monitor = ? AND kind = ? AND until_at = ?",
            [.int(Int64(count))] + key(monitor) + [.string(kind.rawValue), .timestamp(until)])
    }

    func store(_ marks: MonitorMarks, monitor: ResourceRef) throws {
        try execute(
            """
            INSERT INTO monitor_marks (workspace, monitor, drift_closed, performance_closed) VALUES (?, ?, ?, ?)
            ON CONFLICT (workspace, monitor) DO UPDATE SET drift_closed = excluded.drift_closed, performance_closed = excluded.performance_closed
            """, key(monitor) + [.timestamp(marks.drift), .timestamp(marks.performance)])
    }
}

/// What names a monitor or an endpoint in a table.
private func key(_ thing: ResourceRef) -> [Value] { [.string(thing.workspace.name), .string(thing.qualifiedName)] }

extension Querying {
    func marks(of monitor: ResourceRef) throws -> MonitorMarks? {
        try row("SELECT drift_closed, performance_closed FROM monitor_marks WHERE workspace = ? AND monitor = ?", key(monitor)).map {
            MonitorMarks(drift: $0.time("drift_closed"), performance: $0.time("performance_closed"))
        }
    }

    /// Oldest first.
    func measurements(
        monitor: ResourceRef, kind: WindowMeasurement.Kind?, after: Timestamp, alertsOnly: Bool, limit: Int
    ) throws -> [WindowMeasurement] {
        var clauses = ["workspace = ?", "monitor = ?", "until_at > ?"]
        var parameters = key(monitor) + [.timestamp(after)]
        if let kind {
            clauses.append("kind = ?")
            parameters.append(.string(kind.rawValue))
        }
        if alertsOnly { clauses.append("alerted = 1") }
        let sql = """
            SELECT workspace, monitor, endpoint, body, late_count FROM monitor_windows WHERE \(clauses.joined(separator: " AND ")) ORDER BY until_at, kind LIMIT ?
            """
        return try rows(sql, parameters + [.int(Int64(limit))]).map(measurement)
    }

    /// The newest of a monitor, the newest first.
    func newestMeasurements(monitor: ResourceRef, kind: WindowMeasurement.Kind, limit: Int) throws -> [WindowMeasurement] {
        try rows(
            """
            SELECT workspace, monitor, endpoint, body, late_count FROM monitor_windows
            WHERE workspace = ? AND monitor = ? AND kind = ? ORDER BY until_at DESC LIMIT ?
            """, key(monitor) + [.string(kind.rawValue), .int(Int64(limit))]
        ).map(measurement)
    }

    /// The newest of an endpoint.
    func latestMeasurement(endpoint: ResourceRef, kind: WindowMeasurement.Kind) throws -> WindowMeasurement? {
        try row(
            """
            SELECT workspace, monitor, endpoint, body, late_count FROM monitor_windows
            WHERE workspace = ? AND endpoint = ? AND kind = ? ORDER BY until_at DESC, monitor LIMIT 1
            """, key(endpoint) + [.string(kind.rawValue)]
        ).map(measurement)
    }

    /// The newest of a release, of any kind.
    func latestMeasurement(endpoint: ResourceRef, release: Int) throws -> WindowMeasurement? {
        try row(
            """
            SELECT workspace, monitor, endpoint, body, late_count FROM monitor_windows
            WHERE workspace = ? AND endpoint = ? AND release_number = ? ORDER BY until_at DESC, monitor, kind LIMIT 1
            """, key(endpoint) + [.int(Int64(release))]
        ).map(measurement)
    }

    private func measurement(_ row: SQLRow) throws -> WindowMeasurement {
        let workspace = WorkspaceID(stored: row.text("workspace"))
        var found = try WindowMeasurement(
            json: try row.json("body"), of: ResourceRef(MonitorSpec.kind, stored: row.text("monitor"), in: workspace),
            on: ResourceRef("Endpoint", stored: row.text("endpoint"), in: workspace))
        found.late = Int(row.int("late_count"))
        return found
    }
}
