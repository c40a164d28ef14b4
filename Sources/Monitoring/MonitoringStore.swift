import Contracts
import Storage

extension Transaction {
    /// Keeps a measurement and raises its alert; a window that is there already stays as it is and raises none.
    func store(_ measurement: WindowMeasurement, caller: Caller) throws {
        let inserted = try execute(
            """
            INSERT INTO monitor_windows (monitor, kind, until_at, from_at, endpoint, release_number, row_count, late_count, value, alerted, body, closed_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT (monitor, kind, until_at) DO NOTHING
            """,
            [
                .string(measurement.monitor), .string(measurement.kind.rawValue), .timestamp(measurement.until),
                .timestamp(measurement.from),
                .string(measurement.endpoint), .int(Int64(measurement.release)), .int(Int64(measurement.rows)),
                measurement.value.map(Value.double) ?? .null, .int(measurement.alerted ? 1 : 0), .string(measurement.json.text),
                .timestamp(now),
            ])
        if inserted > 0, measurement.alerted {
            try record("monitor.alert", on: "Monitor/\(measurement.monitor)", measurement.alert, by: caller)
        }
    }

    func addLate(_ count: Int, monitor: String, kind: WindowMeasurement.Kind, until: Timestamp) throws {
        try execute(
            "UPDATE monitor_windows SET late_count = late_count + ? WHERE monitor = ? AND kind = ? AND until_at = ?",
            [.int(Int64(count)), .string(monitor), .string(kind.rawValue), .timestamp(until)])
    }

    func store(_ marks: MonitorMarks, monitor: String) throws {
        try execute(
            """
            INSERT INTO monitor_marks (monitor, drift_closed, performance_closed) VALUES (?, ?, ?)
            ON CONFLICT (monitor) DO UPDATE SET drift_closed = excluded.drift_closed, performance_closed = excluded.performance_closed
            """, [.string(monitor), .timestamp(marks.drift), .timestamp(marks.performance)])
    }
}

extension Querying {
    func marks(of monitor: String) throws -> MonitorMarks? {
        try row("SELECT drift_closed, performance_closed FROM monitor_marks WHERE monitor = ?", [.string(monitor)]).map {
            MonitorMarks(drift: $0.time("drift_closed"), performance: $0.time("performance_closed"))
        }
    }

    /// Oldest first.
    func measurements(
        monitor: String, kind: WindowMeasurement.Kind?, after: Timestamp, alertsOnly: Bool, limit: Int
    ) throws -> [WindowMeasurement] {
        var (clauses, parameters) = (["monitor = ?", "until_at > ?"], [Value.string(monitor), .timestamp(after)])
        if let kind {
            clauses.append("kind = ?")
            parameters.append(.string(kind.rawValue))
        }
        if alertsOnly { clauses.append("alerted = 1") }
        let sql = """
            SELECT body, late_count FROM monitor_windows WHERE \(clauses.joined(separator: " AND ")) ORDER BY until_at, kind LIMIT ?
            """
        return try rows(sql, parameters + [.int(Int64(limit))]).map(measurement)
    }

    /// The newest of an endpoint.
    func latestMeasurement(endpoint: String, kind: WindowMeasurement.Kind) throws -> WindowMeasurement? {
        try row(
            """
            SELECT body, late_count FROM monitor_windows WHERE endpoint = ? AND kind = ? ORDER BY until_at DESC, monitor LIMIT 1
            """, [.string(endpoint), .string(kind.rawValue)]
        ).map(measurement)
    }

    private func measurement(_ row: SQLRow) throws -> WindowMeasurement {
        var found = try WindowMeasurement(json: try row.json("body"))
        found.late = Int(row.int("late_count"))
        return found
    }
}
