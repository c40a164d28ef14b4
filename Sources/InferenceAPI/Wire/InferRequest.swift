import Contracts

/// A request of the Open Inference Protocol v2 (`POST /v2/models/{model}/infer`), read straight into typed columns.
///
/// Each input is one column: `shape` is `[rows]` or `[rows, 1]`. Accepted datatypes: BOOL, INT8…INT64, UINT8…UINT64, FP32, FP64, BYTES.
public struct InferRequest: Sendable {
    public let id: String?
    /// One prediction id a row, from `parameters.ids`.
    public let ids: [String]?
    public let table: Table

    /// - Throws: `invalidArgument` that names the input and what is wrong with it.
    public init(parsing bytes: UnsafeBufferPointer<UInt8>) throws(KeelError) {
        var scanner = JSONScanner(bytes)
        var (id, ids): (String?, [String]?) = (nil, nil)
        var inputs: [(name: String, column: Column)]?
        try scanner.object { (scanner, key) throws(KeelError) in
            if key == "inputs" {
                var columns: [(name: String, column: Column)] = []
                try scanner.array { (scanner) throws(KeelError) in
                    columns.append(try InferRequest.input(&scanner, index: columns.count))
                }
                inputs = columns
            } else if key == "id" {
                id = try scanner.string()
            } else if key == "parameters" {
                ids = try InferRequest.parameters(&scanner)
            } else if key == "outputs" {
                try scanner.skip()
            } else {
                throw .invalid(
                    "unknown field '\(String(decoding: key, as: UTF8.self))'", hint: "known fields: id, inputs, outputs, parameters")
            }
        }
        try scanner.expectEnd()
        guard let inputs else { throw .invalid("'inputs' is missing", path: "inputs") }
        guard !inputs.isEmpty else { throw .invalid("'inputs' is empty", path: "inputs") }
        let rows = inputs[0].column.count
        for (i, input) in inputs.enumerated() where input.column.count != rows {
            throw .invalid(
                "input '\(input.name)' has \(input.column.count) rows, '\(inputs[0].name)' has \(rows)", path: "inputs[\(i)].shape")
        }
        if let ids, ids.count != rows { throw .invalid("\(ids.count) ids for \(rows) rows", path: "parameters.ids") }
        self.id = id
        self.ids = ids ?? id.map { one in rows == 1 ? [one] : (0..<rows).map { "\(one)/\($0)" } }
        table = try Table(inputs)
    }

    private static func parameters(_ scanner: inout JSONScanner) throws(KeelError) -> [String]? {
        var ids: [String]?
        try scanner.object { (scanner, key) throws(KeelError) in
            if key == "ids" {
                var list: [String] = []
                try scanner.array { (scanner) throws(KeelError) in list.append(try scanner.string()) }
                ids = list
            } else {
                // The protocol leaves parameters open; those of other servers are allowed and have no meaning here.
                try scanner.skip()
            }
        }
        return ids
    }

    private static func input(_ scanner: inout JSONScanner, index: Int) throws(KeelError) -> (name: String, column: Column) {
        var (name, type): (String?, DataType?) = (nil, nil)
        var rows: Int?
        var data: JSONScanner?
        var column: Column?
        do throws(KeelError) {
            try scanner.object { (scanner, key) throws(KeelError) in
                if key == "name" {
                    name = try scanner.string()
                } else if key == "datatype" {
                    type = try scanner.stringBytes { (word) throws(KeelError) in try InferRequest.type(word) }
                } else if key == "shape" {
                    rows = try InferRequest.shape(&scanner)
                } else if key == "data" {
                    if let type {
                        column = try InferRequest.column(type, &scanner)
                    } else {
                        // The datatype comes later: remember the place and read it then.
                        data = scanner
                        try scanner.skip()
                    }
                } else if key == "parameters" {
                    try scanner.skip()
                } else {
                    throw .invalid(
                        "unknown field '\(String(decoding: key, as: UTF8.self))'",
                        hint: "known fields: name, shape, datatype, data, parameters")
                }
            }
            guard let type else { throw .invalid("'datatype' is missing") }
            if var data { column = try InferRequest.column(type, &data) }
            guard let column else { throw .invalid("'data' is missing") }
            guard let name else { throw .invalid("'name' is missing") }
            guard let rows else { throw .invalid("'shape' is missing") }
            guard rows == column.count else { throw .invalid("shape says \(rows) rows, data has \(column.count) values") }
            return (name, column)
        } catch {
            throw error.at(name.map { "inputs[\(index)] (\($0))" } ?? "inputs[\(index)]")
        }
    }

    private static func type(_ word: UnsafeBufferPointer<UInt8>) throws(KeelError) -> DataType {
        if word == "FP64" { return .float64 }
        if word == "FP32" { return .float32 }
        if word == "INT64" || word == "UINT64" || word == "UINT32" { return .int64 }
        if word == "INT32" || word == "INT16" || word == "INT8" || word == "UINT16" || word == "UINT8" { return .int32 }
        if word == "BYTES" { return .string }
        if word == "BOOL" { return .bool }
        throw .invalid(
            "'\(String(decoding: word.prefix(40), as: UTF8.self))' is not a datatype that is accepted here",
            hint: "one of BOOL, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, FP32, FP64, BYTES")
    }

    private static func shape(_ scanner: inout JSONScanner) throws(KeelError) -> Int {
        var (rows, rank) = (0, 0)
        try scanner.array { (scanner) throws(KeelError) in
            let (_, size) = try scanner.numberOrInteger()
            guard let size, size >= 0, size <= 1_000_000 else { throw .invalid("a shape is a list of sizes up to 1,000,000") }
            if rank == 0 {
                rows = Int(size)
            } else if size != 1 {
                throw .invalid("each input is one column: its shape is [rows] or [rows, 1]")
            }
            rank += 1
        }
        guard rank > 0 else { throw .invalid("a shape needs at least one dimension") }
        return rows
    }

    /// Reads flat or nested `data` into a column.
    private static func column(_ type: DataType, _ scanner: inout JSONScanner) throws(KeelError) -> Column {
        var validity: Bitmap?
        func mark(_ valid: Bool, at row: Int) {
            if !valid, validity == nil { validity = Bitmap(repeating: true, count: row) }
            validity?.append(valid)
        }
        switch type {
        case .float32, .float64:
            var values: [Double] = []
            try elements(&scanner) { (scanner) throws(KeelError) in
                if try scanner.null() {
                    mark(false, at: values.count)
                    values.append(.nan)
                } else {
                    mark(true, at: values.count)
                    values.append(try scanner.number())
                }
            }
            return Column(.float64, .float64(values), validity: validity)
        case .int32, .int64:
            var values: [Int64] = []
            try elements(&scanner) { (scanner) throws(KeelError) in
                if try scanner.null() {
                    mark(false, at: values.count)
                    values.append(0)
                } else {
                    mark(true, at: values.count)
                    guard let value = try scanner.numberOrInteger().1 else { throw .invalid("value \(values.count) is not a whole number") }
                    values.append(value)
                }
            }
            return Column(.int64, .int64(values), validity: validity)
        case .bool:
            var values: [Bool] = []
            try elements(&scanner) { (scanner) throws(KeelError) in
                let missing = try scanner.null()
                mark(!missing, at: values.count)
                values.append(missing ? false : try scanner.bool())
            }
            return Column(.bool, .bool(values), validity: validity)
        default:
            var values = TextBuffer()
            try elements(&scanner) { (scanner) throws(KeelError) in
                let missing = try scanner.null()
                mark(!missing, at: values.count)
                if missing {
                    values.append("")
                } else {
                    try scanner.stringBytes { (text) throws(KeelError) in
                        guard text.count <= 1 << 20 else {
                            throw .invalid("a text of \(text.count) bytes", hint: "texts are limited to 1 MiB")
                        }
                        guard text.isASCII || String(validating: text, as: UTF8.self) != nil else {
                            throw .invalid("value \(values.count) is not valid UTF-8")
                        }
                        values.append(text)
                    }
                }
            }
            return Column(.string, .text(values), validity: validity)
        }
    }

    private static func elements(_ scanner: inout JSONScanner, _ body: (inout JSONScanner) throws(KeelError) -> Void) throws(KeelError) {
        try scanner.array { (scanner) throws(KeelError) in
            if try scanner.peek() == .array { try scanner.array(body) } else { try body(&scanner) }
        }
    }
}
