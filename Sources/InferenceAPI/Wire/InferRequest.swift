import Contracts

/// A request of the Open Inference Protocol v2 (`POST /v2/models/{model}/infer`), read straight into typed columns.
///
/// Each input is one column: `shape` is `[rows]` or `[rows, 1]`, and its data are JSON or, by Triton's binary tensor extension, bytes behind the JSON
/// (`parameters.binary_data_size`). Accepted datatypes: BOOL, INT8…INT64, UINT8…UINT64, FP32, FP64, BYTES.
public struct InferRequest: Sendable {
    public let id: String?
    /// One prediction id a row, from `parameters.ids`.
    public let ids: [String]?
    public let table: Table
    /// Whether the scores are asked for as binary data.
    public let isBinaryOutput: Bool

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
        var parameters: Parameters?
        var inputs: [Input]?
        var isBinaryOutput: Bool?
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
            } else if key == "parameters" {
                try InferRequest.once(parameters == nil, "parameters")
                parameters = try Parameters(&scanner)
            } else if key == "outputs" {
                try InferRequest.once(isBinaryOutput == nil, "outputs")
                isBinaryOutput = try InferRequest.outputs(&scanner)
            } else {
                throw .invalid(
                    "unknown field '\(String(decoding: key.prefix(60), as: UTF8.self))'",
                    hint: "known fields: id, inputs, outputs, parameters")
            }
        }
        try scanner.expectEnd()
        guard let inputs else { throw .invalid("'inputs' is missing", path: "inputs") }
        guard !inputs.isEmpty else { throw .invalid("'inputs' is empty", path: "inputs") }
        table = try InferRequest.table(inputs, &binary)
        let rows = table.rowCount
        if let ids = parameters?.ids, ids.count != rows { throw .invalid("\(ids.count) ids for \(rows) rows", path: "parameters.ids") }
        self.id = id
        ids = parameters?.ids ?? id.map { one in rows == 1 ? [one] : (0..<rows).map { "\(one)/\($0)" } }
        self.isBinaryOutput = isBinaryOutput ?? parameters?.isBinaryOutput ?? false
    }

    private static func table(_ inputs: [Input], _ binary: inout UnsafeRawBufferPointer) throws(KeelError) -> Table {
        var columns: [(name: String, column: Column)] = []
        columns.reserveCapacity(inputs.count)
        for (i, input) in inputs.enumerated() {
            do throws(KeelError) {
                if let column = input.column {
                    columns.append((input.name, column))
                } else {
                    guard let count = input.binaryBytes, count <= binary.count else {
                        throw .invalid("the body ends before the binary data of '\(input.name)'", path: "parameters.binary_data_size")
                    }
                    let data = UnsafeRawBufferPointer(rebasing: binary[..<count])
                    binary = UnsafeRawBufferPointer(rebasing: binary[count...])
                    columns.append((input.name, try TensorColumn.binary(input.type, rows: input.rows, data)))
                }
            } catch { throw error.at("inputs[\(i)]") }
            guard columns[i].column.count == columns[0].column.count else {
                throw .invalid(
                    "input '\(input.name)' has \(columns[i].column.count) rows, '\(columns[0].name)' has \(columns[0].column.count)",
                    path: "inputs[\(i)].shape")
            }
        }
        guard binary.isEmpty else {
            throw .invalid(
                "\(binary.count) bytes behind the JSON belong to no input", hint: "each input says its parameters.binary_data_size")
        }
        let names = columns.map(\.name)
        if names.count > 1, Set(names).count != names.count {
            let i = names.indices.first { names[..<$0].contains(names[$0]) } ?? 0
            throw .invalid("two inputs are called '\(names[i].prefix(60))'", path: "inputs[\(i)].name")
        }
        return try Table(columns)
    }

    static func once(_ isFirst: Bool, _ name: String) throws(KeelError) {
        guard isFirst else { throw .invalid("'\(name)' is there twice", path: name) }
    }

    /// Whether the one output is asked for as binary data; nil when nothing is said of it.
    private static func outputs(_ scanner: inout JSONScanner) throws(KeelError) -> Bool? {
        var isBinary: Bool?
        var index = 0
        try scanner.array { (scanner) throws(KeelError) in
            let place = "outputs[\(index)]"
            index += 1
            let reader = try FieldReader(try scanner.tree(), path: place)
            guard try reader.string("name") == InferResponse.output else {
                throw reader.failure("name", "there is no such output", hint: "the one output is '\(InferResponse.output)'")
            }
            if let parameters = try reader.optionalObject("parameters") {
                isBinary = try parameters.optionalBool("binary_data")
                for name in ["classification", "shared_memory_region"] where parameters.optional(name) != nil {
                    throw parameters.failure(name, "is not supported here")
                }
            }
            try reader.finish()
        }
        return isBinary
    }

    /// The column errors of the domain (`x`, `x[3]`) with the place in this request.
    public static func locate(_ error: KeelError, in names: [String]) -> KeelError {
        guard let path = error.path else { return error }
        let name = path.hasSuffix("]") ? path[..<(path.lastIndex(of: "[") ?? path.endIndex)] : path[...]
        guard let i = names.firstIndex(where: { $0 == name }) else { return error }
        let element = path[name.endIndex...]
        return KeelError(error.code, error.message, hint: error.hint, path: "inputs[\(i)]" + (element.isEmpty ? "" : ".data\(element)"))
    }
}

/// The parameters of a request that have a meaning here. The protocol leaves them open: others are allowed.
private struct Parameters {
    var ids: [String]?
    var isBinaryOutput: Bool?

    init(_ scanner: inout JSONScanner) throws(KeelError) {
        try scanner.object { (scanner, key) throws(KeelError) in
            if key == "ids" {
                try InferRequest.once(ids == nil, "parameters.ids")
                var list: [String] = []
                try scanner.array { (scanner) throws(KeelError) in list.append(try scanner.string()) }
                ids = list
            } else if key == "binary_data_output" {
                isBinaryOutput = try scanner.bool()
            } else {
                try scanner.skip()
            }
        }
    }
}

/// One input: its column, or where its binary data are.
private struct Input {
    let name: String
    let type: Datatype
    let rows: Int
    /// Nil when the data are binary.
    let column: Column?
    let binaryBytes: Int?

    init(_ scanner: inout JSONScanner) throws(KeelError) {
        var name: String?
        var type: Datatype?
        var shape: (rows: Int, rank: Int)?
        var data: JSONScanner?
        var read: (column: Column, isNested: Bool?)?
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
                    read = try TensorColumn.json(type, &scanner)
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
        if read == nil, var data { read = try TensorColumn.json(type, &data) }
        if let read {
            guard read.column.count == shape.rows else {
                throw .invalid("the shape says \(shape.rows) values, there are \(read.column.count)", path: "shape")
            }
            guard read.isNested != true || shape.rank == 2 else {
                throw .invalid(
                    "the data are nested, the shape is [\(shape.rows)]", hint: "shape [\(shape.rows), 1], or flat data", path: "data")
            }
        }
        self.name = name
        self.type = type
        rows = shape.rows
        column = read?.column
        self.binaryBytes = binaryBytes
    }

    private static func shape(_ scanner: inout JSONScanner) throws(KeelError) -> (rows: Int, rank: Int) {
        var rows = 0
        var rank = 0
        try scanner.array { (scanner) throws(KeelError) in
            let (_, size) = try scanner.numberOrInteger()
            guard let size, size >= 0, size <= 1_000_000 else {
                throw .invalid("a shape is a list of sizes up to 1,000,000", path: "shape[\(rank)]")
            }
            if rank == 0 {
                rows = Int(size)
            } else if size != 1 || rank > 1 {
                throw .invalid("each input is one column: its shape is [rows] or [rows, 1]", path: "shape[\(rank)]")
            }
            rank += 1
        }
        guard rank > 0 else { throw .invalid("a shape needs at least one dimension", path: "shape") }
        return (rows, rank)
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
