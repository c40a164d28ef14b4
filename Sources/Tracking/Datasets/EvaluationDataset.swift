import Contracts

/// Questions with what is known of their answers, for evaluating models; it belongs to any number of experiments.
public struct EvaluationDataset: Sendable, Hashable {
    /// `d-` and 32 hexadecimal characters.
    public let id: String
    public let name: String
    /// Eight hexadecimal characters that change with every change of the records.
    public let digest: String
    /// The fields seen so far and their types: `{"inputs": {…}, "outputs": {…}, "expectations": {…}, "version": "1.0"}`; nil without records.
    public let schema: JSON?
    public let recordCount: Int64
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
    public let createdBy: String?
    public let updatedBy: String?
    public var tags: [KeyValue] = []
    public var experimentIDs: [String] = []
}

/// One question of an evaluation dataset. Inputs identify it: the same inputs again change the record that is there.
public struct EvaluationRecord: Sendable, Hashable {
    /// `dr-` and 32 hexadecimal characters.
    public let id: String
    public let datasetID: String
    public let content: EvaluationRecordContent
    public let createdAt: Timestamp
    public let updatedAt: Timestamp
    public let createdBy: String?
    public let updatedBy: String?
}

/// What a caller says of a record. Fields that are nil are not given.
public struct EvaluationRecordContent: Sendable, Hashable {
    /// An object.
    public var inputs: JSON
    public var outputs: JSON?
    /// An object.
    public var expectations: JSON?
    /// An object.
    public var tags: JSON?
    public var source: EvaluationRecordSource?

    /// - Parameter json: `{"inputs": {…}, "outputs"?: any, "expectations"?: {…}, "tags"?: {…}, "source"?: {"source_type", "source_data"?}}`
    public init(json: JSON, path: String) throws(KeelError) {
        guard json.members != nil else { throw .invalid("a record is an object, not \(json.kind)", path: path) }
        inputs = try EvaluationRecordContent.object(json, "inputs", path) ?? .object([])
        outputs = json["outputs"]
        expectations = try EvaluationRecordContent.object(json, "expectations", path)
        tags = try EvaluationRecordContent.object(json, "tags", path)
        source = try EvaluationRecordContent.object(json, "source", path).map { json throws(KeelError) in
            try EvaluationRecordSource(json: json, path: "\(path).source")
        }
    }

    init(inputs: JSON, outputs: JSON?, expectations: JSON?, tags: JSON?, source: EvaluationRecordSource?) {
        self.inputs = inputs
        self.outputs = outputs
        self.expectations = expectations
        self.tags = tags
        self.source = source
    }

    private static func object(_ json: JSON, _ name: String, _ path: String) throws(KeelError) -> JSON? {
        guard let value = json[name], !value.isNull else { return nil }
        guard value.members != nil else { throw .invalid("must be an object, not \(value.kind)", path: "\(path).\(name)") }
        return value
    }

    /// Who wrote it, as MLflow's clients say it.
    var user: String? { tags?["mlflow.user"]?.string }

    /// This record with what `new` gives: outputs replace, expectations and tags are added by key.
    package func merging(_ new: EvaluationRecordContent) -> EvaluationRecordContent {
        var merged = self
        if let outputs = new.outputs { merged.outputs = outputs.isNull ? Optional<JSON>.none : outputs }
        for item in new.expectations?.members ?? [] { merged.expectations = (merged.expectations ?? .object([])).setting(item) }
        for item in new.tags?.members ?? [] { merged.tags = (merged.tags ?? .object([])).setting(item) }
        return merged
    }
}

/// Where a record comes from.
public struct EvaluationRecordSource: Sendable, Hashable {
    public enum Kind: String, Sendable, CaseIterable {
        case unspecified = "UNSPECIFIED"
        case trace = "TRACE"
        case human = "HUMAN"
        case document = "DOCUMENT"
        case code = "CODE"
    }

    public let kind: Kind
    /// An object.
    public let data: JSON

    init(json: JSON, path: String) throws(KeelError) {
        let word = (json["source_type"]?.string ?? Kind.unspecified.rawValue).uppercased()
        guard let kind = Kind(rawValue: word) else {
            throw .invalid(
                "Invalid dataset record source type: \(word.prefix(100)). Valid source types: [\(Kind.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", "))]",
                path: path)
        }
        let data = json["source_data"] ?? .object([])
        guard data.isNull || data.members != nil else { throw .invalid("must be an object, not \(data.kind)", path: "\(path).source_data") }
        self.kind = kind
        self.data = data.isNull ? .object([]) : data
    }

    /// The trace or other thing it names.
    public var id: String? { (kind == .trace ? data["trace_id"] : data["source_id"])?.string }
    public var json: JSON { ["source_type": .string(kind.rawValue), "source_data": data] }
}

extension JSON {
    fileprivate func setting(_ member: Member) -> JSON {
        var copy = self
        copy[member.key] = member.value
        return copy
    }
}
