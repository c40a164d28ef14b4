import Contracts
import Tracking

/// Runs in the bytes of MLflow's JSON: the same as `TrackingWire.run`, without a tree between. A page has thousands of metrics and tags.
struct RunWriter {
    private(set) var bytes: [UInt8] = []

    static func page(_ runs: [Run], nextToken: String?) -> [UInt8] {
        var writer = RunWriter()
        writer.bytes.reserveCapacity(1000 + runs.count * 1000)
        writer.add("{")
        if !runs.isEmpty {
            writer.add("\"runs\":")
            writer.list(runs) { $0.run($1) }
        }
        if let nextToken { writer.text(runs.isEmpty ? "\"next_page_token\":" : ",\"next_page_token\":", nextToken) }
        writer.add("}")
        return writer.bytes
    }

    mutating func run(_ run: Run) {
        add("{\"info\":")
        info(run)
        add(",\"data\":{")
        var isFirst = true
        member("\"metrics\":", run.metrics, &isFirst) { $0.metric($1) }
        member("\"params\":", run.params, &isFirst) { $0.keyValue($1) }
        member("\"tags\":", run.tags, &isFirst) { $0.keyValue($1) }
        add("},\"inputs\":{")
        isFirst = true
        member("\"dataset_inputs\":", run.datasets, &isFirst) { TrackingWire.dataset($1).write(to: &$0.bytes) }
        member("\"model_inputs\":", run.modelInputs, &isFirst) {
            $0.text("{\"model_id\":", $1.modelID)
            $0.add("}")
        }
        add("},\"outputs\":{")
        isFirst = true
        member("\"model_outputs\":", run.modelOutputs, &isFirst) {
            $0.text("{\"model_id\":", $1.modelID)
            $0.integer(",\"step\":", $1.step)
            $0.add("}")
        }
        add("}}")
    }

    private mutating func info(_ run: Run) {
        text("{\"run_uuid\":", run.id)
        text(",\"experiment_id\":", run.experimentID)
        text(",\"run_name\":", run.name)
        text(",\"user_id\":", run.userID)
        text(",\"status\":", run.status.rawValue)
        integer(",\"start_time\":", run.startedAt.milliseconds)
        if let end = run.endedAt { integer(",\"end_time\":", end.milliseconds) }
        text(",\"artifact_uri\":", run.artifactURI)
        text(",\"lifecycle_stage\":", run.lifecycle.rawValue)
        text(",\"run_id\":", run.id)
        add("}")
    }

    private mutating func metric(_ metric: Metric) {
        text("{\"key\":", metric.key)
        add(",\"value\":")
        TrackingWire.number(metric.value).write(to: &bytes)
        integer(",\"timestamp\":", metric.at.milliseconds)
        integer(",\"step\":", metric.step)
        if let model = metric.modelID { text(",\"model_id\":", model) }
        if let name = metric.datasetName { text(",\"dataset_name\":", name) }
        if let digest = metric.datasetDigest { text(",\"dataset_digest\":", digest) }
        add("}")
    }

    private mutating func keyValue(_ item: KeyValue) {
        text("{\"key\":", item.key)
        text(",\"value\":", item.value)
        add("}")
    }

    // MARK: Pieces

    private mutating func add(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private mutating func text(_ field: StaticString, _ value: String) {
        add(field)
        JSON.write(string: value, to: &bytes)
    }

    /// Digits without a text between.
    private mutating func integer(_ field: StaticString, _ value: Int64) {
        add(field)
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var (start, rest) = (20, value.magnitude)
            repeat {
                start -= 1
                digits[start] = 48 + UInt8(rest % 10)
                rest /= 10
            } while rest > 0
            bytes.append(contentsOf: UnsafeMutableBufferPointer(rebasing: digits[start...]))
        }
    }

    private mutating func list<T>(_ items: [T], _ body: (inout RunWriter, T) -> Void) {
        add("[")
        items.withUnsafeBufferPointer { items in
            for i in items.indices {
                if i > 0 { add(",") }
                body(&self, items[i])
            }
        }
        add("]")
    }

    /// A field that is left out when its list is empty.
    private mutating func member<T>(_ field: StaticString, _ items: [T], _ isFirst: inout Bool, _ body: (inout RunWriter, T) -> Void) {
        guard !items.isEmpty else { return }
        if !isFirst { add(",") }
        isFirst = false
        add(field)
        list(items, body)
    }
}
