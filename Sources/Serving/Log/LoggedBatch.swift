import Contracts

/// The scores of one request's rows by one release, as they are logged: only the rows that the endpoint's sample keeps.
package struct LoggedBatch: Sendable, Hashable {
    package struct Row: Sendable, Hashable {
        var id: String
        var eventTime: Timestamp
        /// The primary output as a number; nil when the model has none.
        var score: Float?
        /// The model's inputs, in the order of its signature.
        var inputs: PackedRow
        /// What the model gave, in the order of its outputs.
        var outputs: PackedRow
        /// The request's columns as a JSON object.
        var request: String
        /// Whether the features had everything that they cover.
        var isExact = true
    }

    var endpoint: ResourceRef
    var release: Int
    var shadow: Bool
    var at: Timestamp
    var latencyNanoseconds: Int
    /// Which rows the features were made of (`FeatureReads`); nil where none were read, and in records of a version before it was kept.
    var known: ClosedRange<Timestamp>?
    var rows: [Row]
    /// Whether it was read from a record of a version before endpoints had environments: the environment is not known then.
    private(set) var hasOldName = false

    init(_ batch: InferenceBatch, sample: Double) {
        endpoint = batch.endpoint
        release = batch.release
        shadow = batch.shadow
        at = batch.at
        latencyNanoseconds = batch.latencyNanoseconds
        known = batch.inputs.reads?.known
        let inexact = batch.inputs.reads?.inexact ?? []
        rows = []
        rows.reserveCapacity(batch.ids.count)
        var text = RequestText(batch.request)
        for i in batch.ids.indices {
            // By the id: all releases that score a request log it, or none.
            if sample < 1, unitHash(batch.ids[i], salt: 1) >= sample { continue }
            rows.append(
                Row(
                    id: batch.ids[i], eventTime: batch.inputs.eventTimes?[i] ?? batch.at, score: batch.scores?[i],
                    inputs: PackedRow(batch.inputs.table, row: i), outputs: PackedRow(batch.outputs, row: i), request: text.row(i),
                    isExact: !inexact.contains(i)))
        }
    }

    /// The rows of its release, of which its own will be some.
    var unexported: UnexportedRows { UnexportedRows(of: endpoint, release) }

    func record(_ row: Row) -> PredictionRecord {
        PredictionRecord(
            endpoint: endpoint, id: row.id, release: release, eventTime: row.eventTime, at: at, shadow: shadow, score: row.score,
            inputs: row.inputs, outputs: row.outputs, latencyNanoseconds: latencyNanoseconds)
    }
}

/// The form of a batch in the journal: little-endian, texts and lists with their length before them.
///
///     u8 version = 4, u8 shadow, i64 release, i64 at µs, i64 latency ns, text endpoint (`ResourceRef.fullName`),
///     u8 whether there are bounds of what was known, then i64 lower µs, i64 upper µs,
///     u32 rows, then for each: text id, i64 event time µs, f32 score (NaN: none), text inputs, text outputs (both `PackedRow`), text request, u8 exact
///
/// Version 3 has no bounds, and rows do not say whether they are exact.
/// Versions 1 and 2 have `u32 width, f32 × width` in place of inputs and outputs, and the score is the one output. Version 1 has an endpoint's name without
/// workspace and environment.
extension LoggedBatch {
    private static let version: UInt8 = 4
    private static let versionWithoutBounds: UInt8 = 3
    private static let versionOfFloats: UInt8 = 2
    private static let versionOfOldNames: UInt8 = 1

    package var journalRecord: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(64 + rows.reduce(0) { $0 + $1.id.utf8.count + $1.request.utf8.count + $1.inputs.bytes.count + $1.outputs.bytes.count + 40 })
        func add<Integer: FixedWidthInteger>(_ value: Integer) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
        func add(_ text: String) {
            add(UInt32(text.utf8.count))
            out.append(contentsOf: text.utf8)
        }
        add(LoggedBatch.version)
        add(UInt8(shadow ? 1 : 0))
        add(Int64(release))
        add(at.microseconds)
        add(Int64(latencyNanoseconds))
        let place = out.count
        add(UInt32(0))
        endpoint.writeFullName(to: &out)
        let length = UInt32(out.count - place - 4)
        for i in 0..<4 { out[place + i] = UInt8(truncatingIfNeeded: length >> UInt32(8 * i)) }
        add(UInt8(known == nil ? 0 : 1))
        if let known {
            add(known.lowerBound.microseconds)
            add(known.upperBound.microseconds)
        }
        add(UInt32(rows.count))
        for row in rows {
            add(row.id)
            add(row.eventTime.microseconds)
            add((row.score ?? .nan).bitPattern)
            add(UInt32(row.inputs.bytes.count))
            out.append(contentsOf: row.inputs.bytes)
            add(UInt32(row.outputs.bytes.count))
            out.append(contentsOf: row.outputs.bytes)
            add(row.request)
            add(UInt8(row.isExact ? 1 : 0))
        }
        return out
    }

    /// - Throws: `corrupted` for bytes that are no whole record.
    package init(journalRecord bytes: UnsafeRawBufferPointer) throws(KeelError) {
        var at = 0
        func take(_ count: Int) throws(KeelError) -> UnsafeRawBufferPointer {
            guard count >= 0, bytes.count - at >= count else { throw LoggedBatch.damaged }
            defer { at += count }
            return UnsafeRawBufferPointer(rebasing: bytes[at..<at + count])
        }
        func number<Integer: FixedWidthInteger>(_: Integer.Type) throws(KeelError) -> Integer {
            Integer(littleEndian: try take(MemoryLayout<Integer>.size).loadUnaligned(as: Integer.self))
        }
        func text() throws(KeelError) -> String { String(decoding: try take(Int(try number(UInt32.self))), as: UTF8.self) }
        let version = try number(UInt8.self)
        guard (LoggedBatch.versionOfOldNames...LoggedBatch.version).contains(version) else { throw LoggedBatch.damaged }
        shadow = try number(UInt8.self) == 1
        release = Int(try number(Int64.self))
        self.at = Timestamp(microseconds: try number(Int64.self))
        latencyNanoseconds = Int(try number(Int64.self))
        let name = try text()
        hasOldName = version == LoggedBatch.versionOfOldNames
        endpoint = ResourceRef(EndpointSpec.kind, fullName: name)
        if version == LoggedBatch.version, try number(UInt8.self) == 1 {
            let lower = try number(Int64.self)
            let upper = try number(Int64.self)
            guard lower <= upper else { throw LoggedBatch.damaged }
            known = Timestamp(microseconds: lower)...Timestamp(microseconds: upper)
        }
        rows = []
        for _ in 0..<(try number(UInt32.self)) {
            let id = try text()
            let eventTime = Timestamp(microseconds: try number(Int64.self))
            let score = Float(bitPattern: try number(UInt32.self))
            let inputs: PackedRow
            let outputs: PackedRow
            if version >= LoggedBatch.versionWithoutBounds {
                inputs = PackedRow(bytes: Array(try take(Int(try number(UInt32.self)))))
                outputs = PackedRow(bytes: Array(try take(Int(try number(UInt32.self)))))
            } else {
                inputs = PackedRow(PredictionStore.floats(Array(try take(4 * Int(try number(UInt32.self))))))
                outputs = PackedRow([.double(Double(score))])
            }
            let request = try text()
            let isExact = version < LoggedBatch.version ? true : try number(UInt8.self) == 1
            rows.append(
                Row(
                    id: id, eventTime: eventTime, score: score.isNaN ? nil : score, inputs: inputs, outputs: outputs, request: request,
                    isExact: isExact))
        }
        guard at == bytes.count else { throw LoggedBatch.damaged }
    }

    private static let damaged = KeelError(.corrupted, "a record of the prediction journal is not whole")
}
