import Contracts

extension Signature {
    /// The params that a model is run with: what the caller set, checked, and the standard for the others. Null for a model without params.
    ///
    /// - Parameter given: an object, or null.
    /// - Throws: `invalidArgument` with the path `params.NAME` for a param that the model does not have, or a value of another type.
    package static func values(of params: [Parameter], _ given: JSON) throws(KeelError) -> JSON {
        // Nearly every request.
        if params.isEmpty, given.isNull { return .null }
        let set = given.members ?? []
        let names = params.map(\.name)
        for member in set where !names.contains(member.key) {
            throw .invalid(
                "the model has no param '\(member.key.prefix(60))'",
                hint: nearest(member.key, in: names).map { "did you mean '\($0)'?" }
                    ?? (names.isEmpty ? "its signature has no params" : "its params: \(names.joined(separator: ", "))"),
                path: "params.\(member.key.prefix(60))")
        }
        guard !params.isEmpty else { return .null }
        return .object(
            try params.map { (param) throws(KeelError) in
                guard let value = given[param.name], !value.isNull else { return JSON.Member(param.name, JSON(param.standard)) }
                return JSON.Member(param.name, try param.checked(value))
            })
    }
}

extension Signature.Parameter {
    /// A value as the type has it: 2 for 2.0, and an instant in its usual form.
    func checked(_ json: JSON) throws(KeelError) -> JSON {
        guard let value = Signature.Parameter.value(json.value, as: type) else {
            throw .invalid("must be \(type), not \(json.text.prefix(60))", path: "params.\(name)")
        }
        return JSON(value)
    }

    private static func value(_ value: Value, as type: DataType) -> Value? {
        switch (type, value) {
        case (.bool, .bool), (.string, .string): return value
        case (.int64, _): return value == .bool(true) || value == .bool(false) ? nil : value.integer.map(Value.int)
        case (.int32, _): return value == .bool(true) || value == .bool(false) ? nil : value.integer.flatMap { Int32(exactly: $0) }.map { .int(Int64($0)) }
        case (.float32, .int), (.float32, .double), (.float64, .int), (.float64, .double): return value.number.map(Value.double)
        case (.timestamp, .string(let text)): return Timestamp(text).map(Value.timestamp)
        case (.date, .string(var text)): return text.withUTF8 { CivilDate.parse($0) }.map(Value.date)
        case (.list(let element), .list(let items)), (.tensor(let element, _), .list(let items)):
            let checked = items.map { self.value($0, as: element) }
            return checked.contains { $0 == nil } ? nil : .list(checked.compactMap { $0 })
        default: return nil
        }
    }
}
