import Contracts

/// The plan of an endpoint without a feature service: the request's columns are the model's inputs.
struct RequestPlan: FeaturePlan {
    private let inputs: [Signature.Input]
    /// Of inputs with categories: the bytes of a text → its number.
    private let positions: [[String: Float]?]

    init(inputs: [Signature.Input]) {
        self.inputs = inputs
        positions = inputs.map { input in
            input.categories.map { Dictionary($0.enumerated().map { ($1, Float($0)) }, uniquingKeysWith: { first, _ in first }) }
        }
    }

    var requestFields: [Field] { inputs.map { Field($0.name, $0.type, nullable: $0.nullable) } }

    func fill(_ request: Table, into matrix: UnsafeMutableBufferPointer<Float>) throws(KeelError) -> [Timestamp]? {
        for (j, input) in inputs.enumerated() {
            // Callers send the columns in one order, mostly the model's.
            let inPlace = j < request.names.count && request.names[j] == input.name
            guard let column = inPlace ? request.columns[j] : request[input.name] else { throw missing(input.name, in: request) }
            if !input.nullable, column.nullCount > 0 {
                throw KeelError(.contractViolation, "'\(input.name)' must have a value in every row", path: input.name)
            }
            try write(column, input, positions[j], column: j, of: request.rowCount, into: matrix)
        }
        guard request.columns.count == inputs.count else {
            let names = inputs.map(\.name)
            let stranger = request.names.first { !names.contains($0) } ?? ""
            throw KeelError(
                .contractViolation, "the model takes no column '\(stranger)'",
                hint: nearest(stranger, in: names).map { "did you mean '\($0)'?" } ?? "columns: \(names.joined(separator: ", "))",
                path: stranger)
        }
        return nil
    }

    private func missing(_ name: String, in request: Table) -> KeelError {
        let known = inputs.map(\.name)
        let strangers = request.names.filter { !known.contains($0) }
        return KeelError(
            .contractViolation, "column '\(name)' is missing",
            hint: nearest(name, in: strangers).map { "is '\($0)' meant to be '\(name)'?" } ?? "columns: \(known.joined(separator: ", "))",
            path: name)
    }

    private func write(
        _ column: Column, _ input: Signature.Input, _ positions: [String: Float]?, column j: Int, of rows: Int,
        into matrix: UnsafeMutableBufferPointer<Float>
    ) throws(KeelError) {
        let width = inputs.count
        if let positions {
            guard case .text(let texts) = column.buffer else {
                throw KeelError(.contractViolation, "'\(input.name)' must be a text, not \(column.type)", path: input.name)
            }
            for i in 0..<rows { matrix[i * width + j] = column.isValid(i) ? positions[texts[i]] ?? .nan : .nan }
            return
        }
        // What a missing value has in its place is no value of the caller's.
        func isPresent(_ i: Int) -> Bool { column.isValid(i) }
        func whole(_ v: [Int64], _ range: ClosedRange<Int64>) throws(KeelError) {
            for i in 0..<rows {
                guard range.contains(v[i]) || !isPresent(i) else { throw misfit("\(v[i])", input, i) }
                matrix[i * width + j] = Float(v[i])
            }
        }
        switch (column.buffer, input.type) {
        case (.bool(let v), .bool): for i in 0..<rows { matrix[i * width + j] = v[i] ? 1 : 0 }
        case (.int32(let v), _) where input.type != .bool: for i in 0..<rows { matrix[i * width + j] = Float(v[i]) }
        case (.int64(let v), .bool): try whole(v, 0...1)
        case (.int64(let v), .int32): try whole(v, Int64(Int32.min)...Int64(Int32.max))
        case (.int64(let v), _): for i in 0..<rows { matrix[i * width + j] = Float(v[i]) }
        case (.float32(let v), .float32), (.float32(let v), .float64): for i in 0..<rows { matrix[i * width + j] = v[i] }
        case (.float64(let v), .float32), (.float64(let v), .float64):
            for i in 0..<rows {
                let value = Float(v[i])
                guard !value.isInfinite || !isPresent(i) else { throw misfit("\(v[i])", input, i) }
                matrix[i * width + j] = value
            }
        case (.float64(let v), .int32), (.float64(let v), .int64):
            for i in 0..<rows where isPresent(i) {
                let fits = input.type == .int32 ? Int32(exactly: v[i]) != nil : Int64(exactly: v[i]) != nil
                guard fits else { throw misfit("\(v[i])", input, i) }
                matrix[i * width + j] = Float(v[i])
            }
        default:
            throw KeelError(.contractViolation, "'\(input.name)' must be a \(input.type), not \(column.type)", path: input.name)
        }
        if let validity = column.validity { for i in 0..<rows where !validity[i] { matrix[i * width + j] = .nan } }
    }

    private func misfit(_ value: String, _ input: Signature.Input, _ row: Int) -> KeelError {
        let model = input.type == .float64 ? "the model's float32" : "\(input.type)"
        return .invalid("\(value) does not fit in '\(input.name)', which is \(model)", path: "\(input.name)[\(row)]")
    }
}
