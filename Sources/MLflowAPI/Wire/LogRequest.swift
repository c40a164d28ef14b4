import Contracts
import Tracking

/// What one request logs to a run.
///
/// Bodies as clients write them are read straight from their bytes. Whatever is unusual about a body - a number as text, an unknown field, an
/// error - is left to the tree, which knows all of protobuf's JSON and the words of every error.
struct LogRequest {
    var runID = ""
    var metrics: [Metric] = []
    var params: [KeyValue] = []
    var tags: [KeyValue] = []

    // MARK: From bytes

    /// The body of `runs/log-metric`; nil when it is unusual.
    init?(metric bytes: UnsafeBufferPointer<UInt8>) {
        var scanner = JSONScanner(bytes)
        do {
            var run: String?
            let metric = try LogRequest.metric(&scanner) { scanner, key throws(KeelError) in
                guard key == "run_id" || key == "run_uuid" else { return false }
                let id = try scanner.string()
                if run != nil, run != id { throw LogRequest.unusual }
                run = id
                return true
            }
            try scanner.expectEnd()
            guard let run, !run.isEmpty else { return nil }
            (runID, metrics) = (run, [metric])
        } catch { return nil }
    }

    /// The body of `runs/log-batch`; nil when it is unusual.
    init?(batch bytes: UnsafeBufferPointer<UInt8>) {
        var scanner = JSONScanner(bytes)
        var (run, metrics, params, tags): (String?, [Metric]?, [KeyValue]?, [KeyValue]?) = (nil, nil, nil, nil)
        do {
            try scanner.object { (scanner, key) throws(KeelError) in
                if key == "run_id", run == nil {
                    run = try scanner.string()
                } else if key == "metrics", metrics == nil {
                    var found: [Metric] = []
                    try scanner.array { (scanner) throws(KeelError) in
                        found.append(try LogRequest.metric(&scanner) { _, _ throws(KeelError) in false })
                    }
                    metrics = found
                } else if key == "params", params == nil {
                    params = try LogRequest.pairs(&scanner)
                } else if key == "tags", tags == nil {
                    tags = try LogRequest.pairs(&scanner)
                } else {
                    throw LogRequest.unusual
                }
            }
            try scanner.expectEnd()
        } catch { return nil }
        guard let run, !run.isEmpty else { return nil }
        (runID, self.metrics, self.params, self.tags) = (run, metrics ?? [], params ?? [], tags ?? [])
    }

    private static let unusual = KeelError.invalid("unusual")

    private static func metric(
        _ scanner: inout JSONScanner, other: (inout JSONScanner, UnsafeBufferPointer<UInt8>) throws(KeelError) -> Bool
    ) throws(KeelError) -> Metric {
        var (key, value, milliseconds, step): (String?, Double?, Int64?, Int64?) = (nil, nil, nil, nil)
        try scanner.object { (scanner, name) throws(KeelError) in
            if name == "key", key == nil {
                key = try scanner.string()
            } else if name == "value", value == nil {
                value = try LogRequest.value(&scanner)
            } else if name == "timestamp", milliseconds == nil {
                milliseconds = try scanner.numberOrInteger().1
            } else if name == "step", step == nil {
                step = try scanner.numberOrInteger().1
                if step == nil { throw unusual }
            } else if try !other(&scanner, name) {
                throw unusual
            }
        }
        guard let key, !key.isEmpty, let value, let at = milliseconds.flatMap({ Timestamp(given: $0) }) else { throw unusual }
        return Metric(key, value, at: at, step: step ?? 0)
    }

    /// A number, or protobuf's words for those that JSON does not have.
    private static func value(_ scanner: inout JSONScanner) throws(KeelError) -> Double {
        guard try scanner.peek() == .string else { return try scanner.number() }
        switch try scanner.string() {
        case "NaN": return .nan
        case "Infinity": return .infinity
        case "-Infinity": return -.infinity
        default: throw unusual
        }
    }

    private static func pairs(_ scanner: inout JSONScanner) throws(KeelError) -> [KeyValue] {
        var out: [KeyValue] = []
        try scanner.array { (scanner) throws(KeelError) in
            var (key, value): (String?, String?) = (nil, nil)
            try scanner.object { (scanner, name) throws(KeelError) in
                if name == "key", key == nil {
                    key = try scanner.string()
                } else if name == "value", value == nil {
                    value = try scanner.string()
                } else {
                    throw unusual
                }
            }
            guard let key, !key.isEmpty, value?.utf8.contains(0) != true else { throw unusual }
            out.append(KeyValue(key, value ?? ""))
        }
        return out
    }

    // MARK: From the tree

    init(metric request: MLflowRequest) throws {
        runID = try request.runID()
        metrics = [try TrackingWire.metric(request)]
    }

    init(batch request: MLflowRequest) throws {
        runID = try request.runID()
        metrics = try request.objects("metrics").map { try TrackingWire.metric($0) }
        params = try request.objects("params").map { try TrackingWire.keyValue($0) }
        tags = try request.objects("tags").map { try TrackingWire.keyValue($0) }
    }
}
