/// What a model takes and gives: the contract between training and every request.
public struct Signature: Sendable, Hashable {
    public struct Input: Sendable, Hashable {
        public var name: String
        public var type: DataType
        public var nullable: Bool
        /// For texts that the model takes as numbers: value → its position here; a value that is not here counts as missing.
        public var categories: [String]?

        public init(_ name: String, _ type: DataType, nullable: Bool = true, categories: [String]? = nil) {
            self.name = name
            self.type = type
            self.nullable = nullable
            self.categories = categories
        }
    }
    public struct Output: Sendable, Hashable {
        public var name: String
        public var type: DataType
        public init(_ name: String, _ type: DataType) { (self.name, self.type) = (name, type) }
    }

    public var inputs: [Input]
    public var outputs: [Output]

    public init(inputs: [Input], outputs: [Output]) { (self.inputs, self.outputs) = (inputs, outputs) }

    public var json: JSON {
        [
            "inputs": .array(
                inputs.map { input in
                    var item: JSON = [
                        "name": .string(input.name), "type": .string(input.type.description), "nullable": .bool(input.nullable),
                    ]
                    if let categories = input.categories { item["categories"] = .array(categories.map(JSON.string)) }
                    return item
                }),
            "outputs": .array(outputs.map { ["name": .string($0.name), "type": .string($0.type.description)] }),
        ]
    }

    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "signature")
        inputs = []
        for field in try reader.objects("inputs") {
            inputs.append(
                Input(
                    try field.string("name"), try DataType(parsing: try field.string("type")),
                    nullable: try field.optionalBool("nullable") ?? true,
                    categories: try field.strings("categories")))
            try field.finish()
        }
        outputs = []
        for field in try reader.objects("outputs") {
            outputs.append(Output(try field.string("name"), try DataType(parsing: try field.string("type"))))
            try field.finish()
        }
        try reader.finish()
    }
}
