import Contracts
import Importing

/// A run with everything logged to it but the history of its metrics.
extension Run: ImportRecord {
    public init(
        id: String, name: String, experimentID: String, userID: String, status: RunStatus, startedAt: Timestamp, endedAt: Timestamp?,
        artifactURI: String, lifecycle: Lifecycle
    ) {
        (self.id, self.name, self.experimentID, self.userID, self.status) = (id, name, experimentID, userID, status)
        (self.startedAt, self.endedAt, self.artifactURI, self.lifecycle) = (startedAt, endedAt, artifactURI, lifecycle)
    }

    public var importID: String { id }
    public var record: JSON {
        [
            "id": .string(id), "name": .string(name), "experiment": .string(experimentID), "user": .string(userID),
            "status": .string(status.rawValue), "started": .int(startedAt.milliseconds),
            "ended": endedAt.map { .int($0.milliseconds) } ?? .null,
            "artifact_uri": .string(artifactURI), "lifecycle": .string(lifecycle.rawValue),
            "params": ImportPairs.json(params.map { ($0.key, $0.value) }), "tags": ImportPairs.json(tags.map { ($0.key, $0.value) }),
            "latest": .array(metrics.sorted { Array($0.key.utf8).lexicographicallyPrecedes(Array($1.key.utf8)) }.map(\.point)),
            "datasets": .array(datasets.map(\.record).sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }),
            "inputs": Run.links(modelInputs), "outputs": Run.links(modelOutputs),
        ]
    }

    private static func links(_ links: [ModelLink]) -> JSON {
        .array(
            links.map { link -> JSON in .array([.string(link.modelID), .int(link.step)]) }.sorted {
                $0.bytes.lexicographicallyPrecedes($1.bytes)
            })
    }

    public init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "run")
        self.init(
            id: try reader.identifier("id"), name: try reader.string("name"), experimentID: try reader.identifier("experiment"),
            userID: try reader.string("user"), status: try reader.word("status"), startedAt: try reader.milliseconds("started"),
            endedAt: try reader.optionalMilliseconds("ended"), artifactURI: try reader.string("artifact_uri"),
            lifecycle: try reader.word("lifecycle"))
        params = try ImportPairs.read(reader, "params").map { KeyValue($0.0, $0.1) }
        tags = try ImportPairs.tags(reader).map { KeyValue($0.0, $0.1) }
        metrics = try Run.items(reader, "latest") { (item) throws(KeelError) in try Metric(point: item) }
        datasets = try Run.items(reader, "datasets") { (item) throws(KeelError) in try DatasetInput(record: item) }
        modelInputs = try Run.items(reader, "inputs", Run.link)
        modelOutputs = try Run.items(reader, "outputs", Run.link)
        try reader.finish()
    }

    private static func link(_ item: JSON) throws(KeelError) -> ModelLink {
        guard let id = item[0]?.string, let step = item[1]?.integer else { throw .invalid("a link is [model, step]", path: "run") }
        return ModelLink(modelID: id, step: step)
    }

    static func items<T>(_ reader: FieldReader, _ name: String, _ read: (JSON) throws(KeelError) -> T) throws(KeelError) -> [T] {
        guard let items = try reader.required(name).array else { throw reader.failure(name, "must be a list") }
        var out: [T] = []
        for item in items { out.append(try read(item)) }
        return out
    }
}

extension DatasetInput {
    var record: JSON {
        [
            "name": .string(name), "digest": .string(digest), "source_type": .string(sourceType), "source": .string(source),
            "schema": schema.map(JSON.string) ?? .null, "profile": profile.map(JSON.string) ?? .null,
            "tags": ImportPairs.json(tags.map { ($0.key, $0.value) }),
        ]
    }

    init(record: JSON) throws(KeelError) {
        let reader = try FieldReader(record, path: "run.datasets")
        self.init(
            name: try reader.string("name"), digest: try reader.string("digest"), sourceType: try reader.string("source_type"),
            source: try reader.string("source"), schema: try reader.optionalString("schema"), profile: try reader.optionalString("profile"),
            tags: try ImportPairs.read(reader, "tags").map { KeyValue($0.0, $0.1) })
        try reader.finish()
    }
}

/// One measurement, as it travels in bulk: `[key, value, milliseconds, step]`, a NaN as `"NaN"`.
extension Metric {
    public var point: JSON {
        let (value, isNaN) = RunStore.stored(value)
        // −0 and 0 are one number to a database.
        return .array([.string(key), isNaN != 0 ? "NaN" : .double(value == 0 ? 0 : value), .int(at.milliseconds), .int(step)])
    }

    public init(point: JSON) throws(KeelError) {
        guard let key = point[0]?.string, let at = point[2]?.integer.flatMap({ Timestamp(given: $0) }), let step = point[3]?.integer,
            let value = point[1]?.number ?? (point[1]?.string == "NaN" ? Double.nan : nil)
        else { throw .invalid("a measurement is [key, value, milliseconds, step], not \(point.text.prefix(200))") }
        self.init(key, value, at: at, step: step)
    }

    /// Bytes that no other measurement has, for fingerprints.
    public func identity(_ more: [String] = []) -> [UInt8] {
        let (value, isNaN) = RunStore.stored(value)
        var out: [UInt8] = []
        out.reserveCapacity(key.utf8.count + 40)
        for word in [UInt64(bitPattern: at.milliseconds), UInt64(bitPattern: step), (value == 0 ? 0 : value).bitPattern, UInt64(isNaN)] {
            withUnsafeBytes(of: word.bigEndian) { out.append(contentsOf: $0) }
        }
        out.append(contentsOf: key.utf8)
        for text in more {
            out.append(0)
            out.append(contentsOf: text.utf8)
        }
        return out
    }
}
