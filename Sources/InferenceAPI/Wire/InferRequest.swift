import Contracts

/// A request of the Open Inference Protocol v2 (`POST /v2/models/{model}/infer`), read straight into typed columns.
///
/// Each input is one column: the first dimension of its `shape` is that of the rows, and what is left, unless it is nothing or 1, is the shape of a tensor in
/// each row. Its data are JSON, flat or nested, or, by Triton's binary tensor extension, bytes behind the JSON (`parameters.binary_data_size`).
public struct InferRequest: Sendable {
    public let id: String?
    /// What the request says that it asks, as KServe's client does; the address says it too.
    let modelName: String?
    /// One prediction id a row, from `parameters.ids`.
    public let ids: [String]?
    public let table: Table
    /// The request's parameters that are not the protocol's: those of the model.
    public let params: JSON
    /// The outputs that are asked for, and whether each is to be binary; nil is all.
    package let wanted: [WantedOutput]?
    /// Whether outputs that say nothing of it are binary.
    let isBinaryOutput: Bool

    /// - Parameter headerBytes: the length of the JSON before the binary data (`Inference-Header-Content-Length`); nil: all is JSON.
    /// - Throws: `invalidArgument` that names the place, down to the element: `inputs[0].data[3]`.
    public init(parsing bytes: UnsafeBufferPointer<UInt8>, headerBytes: Int? = nil) throws(KeelError) {
        let jsonBytes = headerBytes ?? bytes.count
        guard (0...bytes.count).contains(jsonBytes) else {
            throw .invalid("the body has \(bytes.count) bytes, Inference-Header-Content-Length says \(jsonBytes)")
        }
        var scanner = JSONScanner(UnsafeBufferPointer(rebasing: bytes[..<jsonBytes]))
        var binary = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[jsonBytes...])
        var id: String?
        var modelName: String?
        var parameters: Parameters?
        var inputs: [Input]?
        var wanted: [WantedOutput]?
        try scanner.object { (scanner, key) throws(KeelError) in
            if key == "inputs" {
                try InferRequest.once(inputs == nil, "inputs")
                var read: [Input] = []
                try scanner.array { (scanner) throws(KeelError) in
                    do throws(KeelError) { read.append(try Input(&scanner)) } catch { throw error.at("inputs[\(read.count)]") }
                }
                inputs = read
            } else if key == "id" {
                try InferRequest.once(id == nil, "id")
                id = try scanner.string()
            } else if key == "model_name" {
                try InferRequest.once(modelName == nil, "model_name")
                modelName = try scanner.string()
            } else if key == "parameters" {
                try InferRequest.once(parameters == nil, "parameters")
                parameters = try Parameters(&scanner)
            } else if key == "outputs" {
                try InferRequest.once(wanted == nil, "outputs")
                wanted = try WantedOutput.list(&scanner)
            } else {
                throw .invalid(
                    "unknown field '\(String(decoding: key.prefix(60), as: UTF8.self))'",
                    hint: "known fields: id, inputs, model_name, outputs, parameters")
            }
        }
        try scanner.expectEnd()
        guard let inputs else { throw .invalid("'inputs' is missing", path: "inputs") }
        guard !inputs.isEmpty else { throw .invalid("'inputs' is empty", path: "inputs") }
        table = try InferRequest.table(inputs, &binary)
        let rows = table.rowCount
        if let ids = parameters?.ids, ids.count != rows { throw .invalid("\(ids.count) ids for \(rows) rows", path: "parameters.ids") }
        self.id = id
        self.modelName = modelName
        ids = parameters?.ids ?? id.map { one in rows == 1 ? [one] : (0..<rows).map { "\(one)/\($0)" } }
        params = parameters?.model ?? .null
        isBinaryOutput = parameters?.isBinaryOutput ?? false
        // An empty list asks for all, as clients send it.
        self.wanted = wanted?.isEmpty == true ? nil : wanted
    }

    private static func table(_ inputs: [Input], _ binary: inout UnsafeRawBufferPointer) throws(KeelError) -> Table {
        var columns: [Column] = []
        columns.reserveCapacity(inputs.count)
        // An input in a variable of its own would be a copy of it, which costs as much as reading one.
        for i in inputs.indices {
            do throws(KeelError) {
                if let column = inputs[i].column { columns.append(column) } else { columns.append(try inputs[i].binaryColumn(&binary)) }
            } catch { throw error.at("inputs[\(i)]") }
            guard columns[i].count == columns[0].count else {
                throw .invalid(
                    "input '\(inputs[i].name)' has \(columns[i].count) rows, '\(inputs[0].name)' has \(columns[0].count)",
                    path: "inputs[\(i)].shape")
            }
        }
        guard binary.isEmpty else {
            throw .invalid(
                "\(binary.count) bytes behind the JSON belong to no input", hint: "each input says its parameters.binary_data_size")
        }
        let names = inputs.map(\.name)
        if names.hasRepetition {
            let i = names.indices.first { names[..<$0].contains(names[$0]) } ?? 0
            throw .invalid("two inputs are called '\(names[i].prefix(60))'", path: "inputs[\(i)].name")
        }
        return Table(distinct: names, columns: columns)
    }

    static func once(_ isFirst: Bool, _ name: String) throws(KeelError) {
        guard isFirst else { throw .invalid("'\(name)' is there twice", path: name) }
    }

    /// The column errors of the domain (`x`, `x[3]`) with the place in this request.
    public static func locate(_ error: KeelError, in names: [String]) -> KeelError {
        guard let path = error.path else { return error }
        if path.hasPrefix("params.") { return KeelError(error.code, error.message, hint: error.hint, path: "parameters." + path.dropFirst(7)) }
        let name = path.hasSuffix("]") ? path[..<(path.lastIndex(of: "[") ?? path.endIndex)] : path[...]
        guard let i = names.firstIndex(where: { $0 == name }) else { return error }
        let element = path[name.endIndex...]
        return KeelError(error.code, error.message, hint: error.hint, path: "inputs[\(i)]" + (element.isEmpty ? "" : ".data\(element)"))
    }
}

/// An output that a request asks for.
package struct WantedOutput: Sendable {
    let name: String
    /// Nil: as the request says for all.
    package let isBinary: Bool?
    /// How many classes of each row are asked for, the most likely first; nil for the values themselves (Triton's classification extension).
    let classes: Int?

    static func list(_ scanner: inout JSONScanner) throws(KeelError) -> [WantedOutput] {
        var wanted: [WantedOutput] = []
        try scanner.array { (scanner) throws(KeelError) in
            let reader = try FieldReader(try scanner.tree(), path: "outputs[\(wanted.count)]")
            var isBinary: Bool?
            var classes: Int?
            if let parameters = try reader.optionalObject("parameters") {
                isBinary = try parameters.optionalBool("binary_data")
                classes = try parameters.optionalInt("classification")
                guard classes ?? 1 > 0 else { throw parameters.failure("classification", "must be above 0") }
                guard parameters.optional("shared_memory_region") == nil else { throw parameters.failure("shared_memory_region", "is not supported here") }
            }
            wanted.append(WantedOutput(name: try reader.string("name"), isBinary: isBinary, classes: classes))
            try reader.finish()
        }
        return wanted
    }
}

/// The parameters of a request. Those that the protocol knows have a meaning here; others are the model's own.
private struct Parameters {
    var ids: [String]?
    var isBinaryOutput: Bool?
    private(set) var model: JSON = .null
    /// Of the protocol and its clients, and without a meaning for a model that keeps no state.
    private static let ignored: Set<String> = [
        "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers", "content_type", "triton_enable_empty_final_response",
    ]

    init(_ scanner: inout JSONScanner) throws(KeelError) {
        var others: [JSON.Member] = []
        try scanner.object { (scanner, key) throws(KeelError) in
            if key == "ids" {
                try InferRequest.once(ids == nil, "parameters.ids")
                var list: [String] = []
                try scanner.array { (scanner) throws(KeelError) in list.append(try scanner.string()) }
                ids = list
            } else if key == "binary_data_output" {
                isBinaryOutput = try scanner.bool()
            } else {
                let name = String(decoding: key, as: UTF8.self)
                let value = try scanner.tree()
                if !Parameters.ignored.contains(name) { others.append(JSON.Member(name, value)) }
            }
        }
        if !others.isEmpty { model = .object(others) }
    }
}

/// One input: its column, or where its binary data are.
private struct Input {
    let name: String
    let type: Datatype
    let shape: TensorShape
    /// Nil when the data are binary.
    let column: Column?
    let binaryBytes: Int?

    init(_ scanner: inout JSONScanner) throws(KeelError) {
        var name: String?
        var type: Datatype?
        var shape: TensorShape?
        var data: JSONScanner?
        var read: (column: Column, nesting: [Int]?)?
        var binaryBytes: Int?
        try scanner.object { (scanner, key) throws(KeelError) in
            if key == "name" {
                try InferRequest.once(name == nil, "name")
                name = try scanner.string()
            } else if key == "datatype" {
                try InferRequest.once(type == nil, "datatype")
                type = try scanner.stringBytes { (word) throws(KeelError) in try Datatype(word) }
            } else if key == "shape" {
                try InferRequest.once(shape == nil, "shape")
                shape = try Input.shape(&scanner)
            } else if key == "data" {
                try InferRequest.once(data == nil, "data")
                data = scanner
                if let type {
                    read = try TensorColumn.json(type, count: shape?.elements ?? 0, &scanner)
                } else {
                    // The datatype comes later: the place is remembered and read then.
                    try scanner.skip()
                }
            } else if key == "parameters" {
                try InferRequest.once(binaryBytes == nil, "parameters")
                binaryBytes = try Input.binaryBytes(&scanner)
            } else {
                throw .invalid(
                    "unknown field '\(String(decoding: key.prefix(60), as: UTF8.self))'",
                    hint: "known fields: name, shape, datatype, data, parameters")
            }
        }
        guard let type else { throw .invalid("'datatype' is missing") }
        guard let name else { throw .invalid("'name' is missing") }
        guard let shape else { throw .invalid("'shape' is missing") }
        guard (data == nil) != (binaryBytes == nil) else {
            throw .invalid(data == nil ? "'data' is missing" : "both 'data' and 'binary_data_size' are there")
        }
        self.name = name
        self.type = type
        self.shape = shape
        self.binaryBytes = binaryBytes
        if read == nil, var data { read = try TensorColumn.json(type, count: shape.elements, &data) }
        guard let read else {
            column = nil
            return
        }
        guard read.column.count == shape.elements else {
            throw .invalid("the shape says \(shape.elements) values, there are \(read.column.count)", path: "shape")
        }
        if let nesting = read.nesting, nesting != shape.sizes {
            throw .invalid("the data are nested as \(nesting), the shape is \(shape.sizes)", hint: "shape \(nesting), or flat data", path: "data")
        }
        column = shape.rows(of: read.column)
    }

    /// The column of binary data, which are the next of those behind the JSON.
    func binaryColumn(_ binary: inout UnsafeRawBufferPointer) throws(KeelError) -> Column {
        guard let count = binaryBytes, count <= binary.count else {
            throw .invalid("the body ends before the binary data of '\(name)'", path: "parameters.binary_data_size")
        }
        let data = UnsafeRawBufferPointer(rebasing: binary[..<count])
        binary = UnsafeRawBufferPointer(rebasing: binary[count...])
        return shape.rows(of: try TensorColumn.binary(type, rows: shape.elements, data))
    }

    private static func shape(_ scanner: inout JSONScanner) throws(KeelError) -> TensorShape {
        var shape = TensorShape()
        try scanner.array { (scanner) throws(KeelError) in
            let (_, size) = try scanner.numberOrInteger()
            do throws(KeelError) { try shape.add(size) } catch { throw error.at("shape") }
        }
        do throws(KeelError) { try shape.check() } catch { throw error.at("shape") }
        return shape
    }

    private static func binaryBytes(_ scanner: inout JSONScanner) throws(KeelError) -> Int? {
        var bytes: Int?
        try scanner.object { (scanner, key) throws(KeelError) in
            if key == "binary_data_size" {
                guard let size = try scanner.numberOrInteger().1, size >= 0 else {
                    throw .invalid("must be a number of bytes", path: "parameters.binary_data_size")
                }
                bytes = Int(size)
            } else if key == "shared_memory_region" {
                throw .invalid("shared memory is not supported here", hint: "send the data", path: "parameters.shared_memory_region")
            } else {
                try scanner.skip()
            }
        }
        return bytes
    }
}
