import Contracts

/// What a model is, as its `MLmodel` file says: flavours, signature, input example, size, and where it comes from.
public struct ModelFacts: Sendable, Hashable {
    /// One column or tensor. A type that Keel's contract has no word for is kept as MLflow wrote it.
    public struct Column: Sendable, Hashable {
        public let name: String?
        /// Keel's word for the type, or nil.
        public let type: DataType?
        /// The type as it was written: `long`, `{"type": "object", …}`.
        public let written: String
        public let isRequired: Bool

        public init(name: String?, type: DataType?, written: String, isRequired: Bool) {
            (self.name, self.type, self.written, self.isRequired) = (name, type, written, isRequired)
        }
    }
    public struct Parameter: Sendable, Hashable {
        public let name: String
        public let type: String
        /// The default, as JSON text.
        public let standard: String
        public init(name: String, type: String, standard: String) { (self.name, self.type, self.standard) = (name, type, standard) }
    }

    public var flavors: [String] = []
    /// What the flavours say in words: `settings["xgboost"]["data"]` is the name of the model's file.
    public var settings: [String: [String: String]] = [:]
    public var inputs: [Column] = []
    public var outputs: [Column] = []
    public var params: [Parameter] = []
    /// The file of the input example, relative to the model, and its kind.
    public var inputExample: String?
    public var inputExampleType: String?
    public var bytes: Int64?
    public var uuid: String?
    public var runID: String?
    public var modelID: String?
    public var mlflowVersion: String?
    public var createdAt: String?
    /// Why the file could not be understood.
    public var problem: String?

    public init() {}

    /// The signature in Keel's contract; nil when a column has no name or a type that the contract has no word for.
    public var signature: Signature? {
        guard !inputs.isEmpty else { return nil }
        var signature = Signature(inputs: [], outputs: [])
        for column in inputs {
            guard let name = column.name, let type = column.type else { return nil }
            signature.inputs.append(.init(name, type, nullable: !column.isRequired))
        }
        for (i, column) in outputs.enumerated() {
            guard let type = column.type else { return nil }
            signature.outputs.append(.init(column.name ?? "output\(outputs.count == 1 ? "" : "\(i)")", type))
        }
        return signature
    }

    public var json: JSON {
        func text(_ value: String?) -> JSON { value.map(JSON.string) ?? .null }
        func columns(_ columns: [Column]) -> JSON {
            .array(
                columns.map {
                    [
                        "name": text($0.name), "type": text($0.type?.description), "written": .string($0.written),
                        "required": .bool($0.isRequired),
                    ]
                })
        }
        return [
            "flavors": .array(flavors.map(JSON.string)),
            "settings": .object(
                settings.sorted { $0.key < $1.key }.map { flavor in
                    JSON.Member(flavor.key, .object(flavor.value.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .string($0.value)) }))
                }), "inputs": columns(inputs), "outputs": columns(outputs),
            "params": .array(params.map { ["name": .string($0.name), "type": .string($0.type), "default": .string($0.standard)] }),
            "input_example": text(inputExample), "input_example_type": text(inputExampleType), "bytes": bytes.map(JSON.int) ?? .null,
            "uuid": text(uuid),
            "run_id": text(runID), "model_id": text(modelID), "mlflow_version": text(mlflowVersion), "created": text(createdAt),
            "problem": text(problem),
        ]
    }

    public init(json: JSON) throws(KeelError) {
        func columns(_ key: String) throws(KeelError) -> [Column] {
            var out: [Column] = []
            for item in json[key]?.array ?? [] {
                var type: DataType?
                if let word = item["type"]?.string { type = try DataType(parsing: word) }
                out.append(
                    Column(
                        name: item["name"]?.string, type: type, written: item["written"]?.string ?? "",
                        isRequired: item["required"] != .bool(false)))
            }
            return out
        }
        flavors = (json["flavors"]?.array ?? []).compactMap(\.string)
        for flavor in json["settings"]?.members ?? [] {
            settings[flavor.key] = Dictionary((flavor.value.members ?? []).map { ($0.key, $0.value.string ?? "") }) { first, _ in first }
        }
        inputs = try columns("inputs")
        outputs = try columns("outputs")
        params = (json["params"]?.array ?? []).map {
            Parameter(name: $0["name"]?.string ?? "", type: $0["type"]?.string ?? "", standard: $0["default"]?.string ?? "")
        }
        (inputExample, inputExampleType) = (json["input_example"]?.string, json["input_example_type"]?.string)
        (bytes, uuid, runID, modelID) = (json["bytes"]?.integer, json["uuid"]?.string, json["run_id"]?.string, json["model_id"]?.string)
        (mlflowVersion, createdAt, problem) = (json["mlflow_version"]?.string, json["created"]?.string, json["problem"]?.string)
    }
}
