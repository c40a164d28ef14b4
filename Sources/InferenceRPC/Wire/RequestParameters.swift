import Contracts

/// The parameters of a request: a map of names to values. Those that the protocol knows have a meaning here; others are the model's own.
struct RequestParameters {
    private(set) var ids: [String]?
    private var others: [JSON.Member] = []

    /// An object, or null.
    var model: JSON { others.isEmpty ? .null : .object(others) }

    /// Of the protocol and its clients, and without a meaning for a model that keeps no state.
    private static let ignored: Set<String> = [
        "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers", "content_type", "binary_data_output",
        "triton_enable_empty_final_response",
    ]

    /// Adds an entry of the map.
    mutating func add(_ entry: UnsafeRawBufferPointer) throws(KeelError) {
        let (name, value) = try RequestParameters.entry(entry)
        if name == "ids" {
            // The map has no lists: this one is a text of JSON.
            guard case .string(let text) = value, case .array(let items)? = try? JSON.parse(text) else {
                throw RequestParameters.noIDs
            }
            var texts: [String] = []
            for item in items {
                guard let text = item.string else { throw RequestParameters.noIDs }
                texts.append(text)
            }
            ids = texts
        } else if !RequestParameters.ignored.contains(name) {
            others.removeAll { $0.key == name }
            guard others.count < RequestParameters.countMax else {
                throw .invalid("a request has at most \(RequestParameters.countMax) parameters")
            }
            others.append(JSON.Member(name, value))
        }
    }
    private static let noIDs = KeelError.invalid("must be a JSON list of texts, as a string_param", hint: "[\"a\",\"b\"]", path: "ids")
    private static let countMax = 256

    /// - Throws: `invalidArgument` when the entry is one of `names`.
    static func refuse(_ names: [String], in entry: UnsafeRawBufferPointer) throws(KeelError) {
        let (name, _) = try self.entry(entry)
        if names.contains(name) { throw .invalid("is not supported here", path: "parameters.\(name)") }
    }

    private static func entry(_ message: UnsafeRawBufferPointer) throws(KeelError) -> (name: String, value: JSON) {
        var name = ""
        var value = JSON.null
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            if field.number == 1 { name = try field.text() }
            if field.number == 2 { value = try located(name) { () throws(KeelError) in try RequestParameters.value(try field.bytes()) } }
        }
        return (name, value)
    }

    /// An `InferParameter`.
    private static func value(_ message: UnsafeRawBufferPointer) throws(KeelError) -> JSON {
        var value = JSON.null
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            switch (field.number, field.value) {
            case (1, .varint(let flag)): value = .bool(flag != 0)
            case (2, .varint(let number)): value = .int(Int64(bitPattern: number))
            case (3, _): value = .string(try field.text())
            case (4, .fixed64(let bits)):
                let number = Double(bitPattern: bits)
                guard number.isFinite else { throw .invalid("must be a finite number") }
                value = .double(number)
            case (5, .varint(let number)):
                guard let number = Int64(exactly: number) else { throw .invalid("\(number) is larger than \(Int64.max)") }
                value = .int(number)
            case (1...5, _): throw ProtobufReader.broken("a parameter has another type")
            default: break
            }
        }
        return value
    }
}
