/// What a model takes and gives: the contract between training and every request.
public struct Signature: Sendable, Hashable {
    public struct Input: Sendable, Hashable {
        public var name: String
        public var type: DataType
        public var nullable: Bool
        /// For texts that the model takes as numbers: value → its position here; a value that is not here counts as missing.
        public var categories: [String]?
        /// Whether a request may leave the column out: every row then has no value in it.
        public var isOptional: Bool

        public init(_ name: String, _ type: DataType, nullable: Bool = true, categories: [String]? = nil, isOptional: Bool = false) {
            self.isOptional = isOptional
            self.name = name
            self.type = type
            self.nullable = nullable
            self.categories = categories
        }
    }
    public struct Output: Sendable, Hashable {
        public var name: String
        /// Of one row: a tensor has the row's shape, without an axis for the rows; −1 is a free dimension.
        public var type: DataType
        public init(_ name: String, _ type: DataType) { (self.name, self.type) = (name, type) }
    }
    /// What a caller may set for a whole request, such as a temperature.
    public struct Parameter: Sendable, Hashable {
        public var name: String
        public var type: DataType
        /// What holds when a request does not set it.
        public var standard: Value
        public init(_ name: String, _ type: DataType, standard: Value) { (self.name, self.type, self.standard) = (name, type, standard) }
    }

    public var inputs: [Input]
    public var outputs: [Output]
    public var params: [Parameter]
    /// The output that is monitored and joined with labels; nil is the first one that gives a number a row.
    public var primary: String?

    public init(inputs: [Input], outputs: [Output], params: [Parameter] = [], primary: String? = nil) {
        self.inputs = inputs
        self.outputs = outputs
        self.params = params
        self.primary = primary
    }

    /// The inputs of a row as numbers, for what counts numbers: a text of an input with categories as its position there, true as 1; NaN for what is missing
    /// or no number.
    public func numbers(_ row: [Value]) -> [Float] {
        row.enumerated().map { i, value in
            if let number = value.number { return Float(number) }
            guard case .string(let text) = value, i < inputs.count, let position = inputs[i].categories?.firstIndex(of: text) else { return .nan }
            return Float(position)
        }
    }

    public var json: JSON {
        var out: JSON = [
            "inputs": .array(
                inputs.map { input in
                    var item: JSON = [
                        "name": .string(input.name), "type": .string(input.type.description), "nullable": .bool(input.nullable),
                    ]
                    if let categories = input.categories { item["categories"] = .array(categories.map(JSON.string)) }
                    if input.isOptional { item["optional"] = true }
                    return item
                }),
            "outputs": .array(outputs.map { ["name": .string($0.name), "type": .string($0.type.description)] }),
        ]
        if !params.isEmpty {
            out["params"] = .array(
                params.map { ["name": .string($0.name), "type": .string($0.type.description), "default": JSON($0.standard)] })
        }
        if let primary { out["primary"] = .string(primary) }
        return out
    }

    public init(json: JSON) throws(KeelError) {
        let reader = try FieldReader(json, path: "signature")
        inputs = []
        for field in try reader.objects("inputs") {
            inputs.append(
                Input(
                    try field.string("name"), try DataType(parsing: try field.string("type")),
                    nullable: try field.optionalBool("nullable") ?? true,
                    categories: try field.strings("categories"), isOptional: try field.optionalBool("optional") ?? false))
            try field.finish()
        }
        outputs = []
        for field in try reader.objects("outputs") {
            outputs.append(Output(try field.string("name"), try DataType(parsing: try field.string("type"))))
            try field.finish()
        }
        params = []
        for field in try reader.optional("params") == nil ? [] : reader.objects("params") {
            let (name, type) = (try field.string("name"), try DataType(parsing: try field.string("type")))
            params.append(Parameter(name, type, standard: field.optional("default")?.value ?? .null))
            try field.finish()
        }
        primary = try reader.optionalString("primary")
        try reader.finish()
    }
}
