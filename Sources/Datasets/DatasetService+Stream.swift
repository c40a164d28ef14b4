import Contracts
import Engines
import Storage
import Synchronization

/// Rows that come one by one: push, seal, replay.
extension DatasetService {
    /// How much of refused rows a stream holds between seals; a push with bad rows beyond it is refused whole.
    static let rejectedBytesMax: UInt64 = 256 << 20

    /// µs; how far times of rows may be ahead of the clock, after it was set back a little, before it is reported.
    private static let aheadMax: Int64 = 60_000_000

    private func reportAhead(_ dataset: ResourceRef, _ time: Timestamp) {
        damage.report(
            dataset,
            KeelError(
                .failedPrecondition,
                "rows are given times of acceptance from \(time) on, ahead of the clock: it is behind, or was ahead when an earlier row was accepted",
                hint: "set the clock right; until it has reached that time, rows count as known later than they were, and training sets lack them"))
    }

    /// Adds rows written as `{"rows": [{"column": value, …}, …]}` to the dataset's stream.
    ///
    /// Synchronous, for any thread; after `loadKeys` it reads no files. When it returns, the accepted rows are in the log and survive a kill. Refused rows go to quarantine.
    /// - Throws: `invalidArgument` when the JSON is malformed, `contractViolation` when the contract rejects batches with a bad row,
    ///   `unavailable` when the disk is full; then nothing is kept.
    public func push(dataset: String, json bytes: UnsafeBufferPointer<UInt8>, grant: Grant) throws(KeelError) -> PushResult {
        let entry = try pushed(dataset, grant)
        let collector = Collector()
        let batcher = RowBatcher(entry.spec, sink: collector)
        let rows = JSONRows(batcher)
        var scanner = JSONScanner(bytes)
        var (index, found) = (0, false)
        try scanner.object { (scanner, key) throws(KeelError) in
            guard key == "rows", !found else {
                throw .invalid(
                    "unknown field '\(String(decoding: key.prefix(60), as: UTF8.self))'", hint: "the body is {\"rows\": [{…}, …]}")
            }
            found = true
            try scanner.array { (scanner) throws(KeelError) in
                index += 1
                guard index <= RowBatcher.rowsMax else {
                    throw KeelError(
                        .payloadTooLarge, "a push has at most \(RowBatcher.rowsMax) rows", hint: "push them in parts; nothing was kept")
                }
                let start = scanner.position
                if let problem = try rows.row(&scanner) {
                    let raw = RowIssue.raw(UnsafeBufferPointer(rebasing: scanner.bytes[start..<scanner.position]))
                    try batcher.abandonRow(RowIssue(line: index, rule: problem.rule, message: problem.message, raw: raw))
                } else {
                    try batcher.commitRow(line: index, bytes: scanner.position - start)
                }
            }
        }
        try scanner.expectEnd()
        guard found else { throw .invalid("'rows' is missing", hint: "the body is {\"rows\": [{…}, …]}", path: "rows") }
        try batcher.flush()
        return try append(collector.batches, collector.issues, entry)
    }

    /// Adds rows that are a table already, with the columns of a file of this dataset.
    public func push(dataset: String, rows: Table, grant: Grant) throws(KeelError) -> PushResult {
        let entry = try pushed(dataset, grant)
        _ = try FileColumns.match(rows.names, entry.spec, file: "rows")
        var issues: [Int: RowIssue] = [:]
        let typed = try ParquetReader.columns(of: rows, entry.spec, file: "rows", firstLine: 1, &issues)
        let kept = (0..<rows.rowCount).filter { issues[$0] == nil }
        let batch = RawBatch(columns: kept.count == rows.rowCount ? typed : typed.map { $0.taking(kept) }, lines: kept.map { $0 + 1 })
        return try append([batch], issues.values.sorted { $0.line < $1.line }, entry)
    }

    private func pushed(_ dataset: String, _ grant: Grant) throws(KeelError) -> Entry {
        let thing = DatasetService.thing(dataset, grant)
        try grant.require(.eventsPush, on: thing)
        return try entry(thing)
    }

    private func append(_ batches: [RawBatch], _ unread: [RowIssue], _ entry: Entry) throws(KeelError) -> PushResult {
        let spec = entry.spec
        var issues = unread
        var accepted = Table(emptyOf: spec.schema.fields)
        var lines: [Int] = []
        if batches.count == 1 {
            let outcome = try entry.pipeline.run(batches[0])
            (accepted, lines) = (outcome.table, outcome.lines)
            issues += outcome.issues
        } else if !batches.isEmpty {
            var joiner = TableJoiner()
            for batch in batches {
                let outcome = try entry.pipeline.run(batch)
                _ = joiner.append(outcome.table)
                lines += outcome.lines
                issues += outcome.issues
            }
            if joiner.rowCount > 0 { accepted = try joiner.take() }
        }
        if spec.onViolation == .reject, let issue = issues.min(by: { $0.line < $1.line }) {
            throw KeelError(
                .contractViolation, issue.message, hint: "the dataset refuses batches with such rows", path: "rows[\(issue.line - 1)]")
        }
        let waiting = entry.stream.rejected.end - entry.stream.keys.withLock { $0.sealed.rejected }
        guard issues.isEmpty || waiting < DatasetService.rejectedBytesMax else {
            throw KeelError(
                .unavailable, "\(waiting >> 20) MiB of refused rows wait in the stream of '\(spec.name)'; no more are taken",
                hint: "correct what is pushed (\(issues[0].message)) and seal the dataset")
        }
        var acceptedAt: Timestamp?
        do {
            let stored = try store(accepted, lines, issues, entry)
            accepted = stored.rows
            issues = stored.refused
            acceptedAt = stored.acceptedAt
        } catch { throw KeelError.wrapping(error) }
        return PushResult(
            accepted: accepted, acceptedAt: acceptedAt, rejected: issues.map { ($0.line - 1, $0.message) }.sorted { $0.index < $1.index })
    }

    /// Appends the rows with new keys and the refused rows to their logs, both or neither; a key counts as known only once its row is there.
    private func store(_ table: Table, _ lines: [Int], _ unread: [RowIssue], _ entry: Entry) throws
        -> (rows: Table, refused: [RowIssue], acceptedAt: Timestamp?)
    {
        let spec = entry.spec
        let stream = entry.stream
        let hashes = spec.key.isEmpty || table.rowCount == 0 ? [] : try KeySet.hashes(table, spec.key)
        return try stream.keys.withLock { keys in
            if keys.isRemoved { throw DatasetStream.removed(spec.name) }
            var accepted = table
            var issues = unread
            var kept: [Int] = []
            if !hashes.isEmpty {
                try load(&keys, entry)
                var batch: Set<SIMD2<UInt64>> = []
                kept = hashes.indices.filter { !keys.contains(hashes[$0]) && batch.insert(hashes[$0]).inserted }
            }
            if kept.count < hashes.count {
                let fresh = Set(kept)
                let known = hashes.indices.filter { !fresh.contains($0) }
                if spec.onViolation == .reject {
                    throw KeelError(
                        .contractViolation, RowPipeline.duplicate(spec.key, table, known[0]), path: "rows[\(lines[known[0]] - 1)]")
                }
                issues += known.map { row in
                    RowIssue(
                        line: lines[row], rule: "key: unique", message: RowPipeline.duplicate(spec.key, table, row),
                        raw: RowPipeline.raw(table.names, table.columns, row))
                }
                accepted = table.taking(rows: kept)
            }
            let before = stream.rejected.end
            if !issues.isEmpty { try stream.rejected.append(issues.map { QuarantinedRow(source: "stream", issue: $0).json.bytes }) }
            var acceptedAt: Timestamp?
            do {
                if accepted.rowCount > 0 {
                    // Under the lock, so that rows have these times in the order in which they stand in the log.
                    let known = try keys.lastAccepted ?? stream.lastAcceptedInLog()
                    let now = clock.now().microseconds
                    let first = max(now, known &+ 1)
                    if first - now > DatasetService.aheadMax, !keys.isAheadReported {
                        keys.isAheadReported = true
                        reportAhead(entry.dataset, Timestamp(microseconds: first))
                    }
                    try stream.rows.append([try TableCodec.encode(try AcceptedTime.add(first, to: accepted))])
                    let last = first + Int64(accepted.rowCount - 1)
                    keys.lastAccepted = last
                    acceptedAt = Timestamp(microseconds: last)
                }
            } catch {
                try stream.rejected.takeBack(to: before)
                throw error
            }
            for row in kept { keys.insert(hashes[row]) }
            return (accepted, issues, acceptedAt)
        }
    }

    /// Makes the rows pushed since the last seal a new snapshot and frees their part of the log; nil when there are none.
    ///
    /// The snapshot notes how far in the log it reaches, so a crash at any point neither loses nor doubles a row.
    public func seal(dataset: String, grant: Grant) async throws -> Snapshot? {
        let thing = DatasetService.thing(dataset, grant)
        try grant.require(.datasetsIngest, .eventsPush, on: thing)
        let entry = try entry(thing)
        return try await entry.stream.turn.run { [self] in
            try entry.stream.checkKept(dataset)
            return try await sealInTurn(entry, grant)
        }
    }

    /// - Parameter replacing: whether the newest snapshot cannot be read: then the new one does not continue it.
    @discardableResult
    func sealInTurn(_ entry: Entry, replacing: Bool = false, _ grant: Grant) async throws -> Snapshot? {
        let dataset = entry.dataset
        let (previous, sealed, number) = try await database.read(in: dataset.workspace) { [self] db in
            (
                replacing ? nil : try find(dataset, nil, db), try SnapshotStore.sealed(dataset.name, db),
                try SnapshotStore.nextNumber(dataset.name, db)
            )
        }
        let end = entry.stream.keys.withLock { _ in
            SnapshotStore.Sealed(stream: entry.stream.rows.end, rejected: entry.stream.rejected.end)
        }
        guard end.stream > sealed.stream || end.rejected > sealed.rejected else { return nil }
        let draft = try await Blocking.run { [self] in
            try seal(entry, number: number, previous: previous, replacing: replacing, from: sealed, to: end)
        }
        try await commit(draft, entry, grant)
        return draft.snapshot
    }

    private func seal(
        _ entry: Entry, number: Int, previous: Snapshot?, replacing: Bool, from: SnapshotStore.Sealed, to: SnapshotStore.Sealed
    ) throws -> SnapshotStore.Draft {
        let (spec, stream) = (entry.spec, entry.stream)
        let writer = try SnapshotWriter(try duckdb.connect(), lake: lake, entry.dataset, spec: spec, number: number)
        do {
            var joiner = TableJoiner()
            func flush() throws { if joiner.rowCount > 0 { try writer.append(try joiner.take()) } }
            try stream.rows.replay(from: from.stream) { record, next in
                guard next <= to.stream else { return }
                let table = try TableCodec.decode(record)
                if !joiner.append(table) {
                    try flush()
                    _ = joiner.append(table)
                }
                if joiner.rowCount >= RowBatcher.rowsMax || joiner.byteCount >= RowBatcher.bytesMax { try flush() }
            }
            try flush()
            try stream.rejected.replay(from: from.rejected) { record, next in
                guard next <= to.rejected, let row = QuarantinedRow(json: try JSON.parse(Array(record))) else { return }
                try writer.quarantine(row)
            }
            try writer.finish()
            return try writer.draft(after: previous, replacing: replacing, source: "stream", filtered: 0, sealed: to, at: clock.now())
        } catch {
            writer.discard()
            throw error
        }
    }

    /// What a push's rows become, in order.
    private final class Collector: RowSink {
        var batches: [RawBatch] = []
        var issues: [RowIssue] = []
        func accept(_ batch: RawBatch) throws(KeelError) { batches.append(batch) }
        func reject(_ issue: RowIssue) throws(KeelError) { issues.append(issue) }
    }
}
