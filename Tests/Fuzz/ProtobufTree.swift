/// A protobuf message as a tree of fields, so that a change of one keeps all lengths around it right.
struct ProtobufTree {
    private enum Value {
        case varint(UInt64)
        case fixed([UInt8])
        case bytes([UInt8])
        case message(ProtobufTree)
    }
    private struct Field {
        var number: UInt64
        var value: Value
    }

    private var fields: [Field] = []
    private static let depthMax = 12

    /// Nil for bytes that are no message.
    init?(_ bytes: [UInt8], depth: Int = 0) {
        guard depth < ProtobufTree.depthMax else { return nil }
        var at = 0
        func varint() -> UInt64? {
            var value: UInt64 = 0
            for shift in stride(from: UInt64(0), to: 64, by: 7) {
                guard at < bytes.count else { return nil }
                value |= UInt64(bytes[at] & 0x7f) << shift
                at += 1
                if bytes[at - 1] < 0x80 { return value }
            }
            return nil
        }
        func take(_ count: UInt64) -> [UInt8]? {
            guard count <= UInt64(bytes.count - at) else { return nil }
            defer { at += Int(count) }
            return Array(bytes[at..<at + Int(count)])
        }
        while at < bytes.count {
            guard let tag = varint(), tag >> 3 > 0 else { return nil }
            switch tag & 7 {
            case 0:
                guard let value = varint() else { return nil }
                fields.append(Field(number: tag >> 3, value: .varint(value)))
            case 1, 5:
                guard let value = take(tag & 7 == 1 ? 8 : 4) else { return nil }
                fields.append(Field(number: tag >> 3, value: .fixed(value)))
            case 2:
                guard let length = varint(), let value = take(length) else { return nil }
                let inner = value.isEmpty ? nil : ProtobufTree(value, depth: depth + 1)
                fields.append(Field(number: tag >> 3, value: inner.map(Value.message) ?? .bytes(value)))
            default: return nil
            }
        }
    }

    var bytes: [UInt8] {
        var out: [UInt8] = []
        func add(_ value: UInt64) {
            var rest = value
            while rest >= 0x80 {
                out.append(UInt8(truncatingIfNeeded: rest) | 0x80)
                rest >>= 7
            }
            out.append(UInt8(truncatingIfNeeded: rest))
        }
        for field in fields {
            switch field.value {
            case .varint(let value):
                add(field.number << 3)
                add(value)
            case .fixed(let value):
                add(field.number << 3 | (value.count == 8 ? 1 : 5))
                out += value
            case .bytes(let value):
                add(field.number << 3 | 2)
                add(UInt64(value.count))
                out += value
            case .message(let inner):
                let value = inner.bytes
                add(field.number << 3 | 2)
                add(UInt64(value.count))
                out += value
            }
        }
        return out
    }

    mutating func mutate(_ mutator: inout Mutator, _ pool: [[UInt8]]) {
        guard !fields.isEmpty else {
            return fields.append(Field(number: UInt64(1 + mutator.choose(8)), value: .varint(UInt64(mutator.choose(300)))))
        }
        let at = mutator.choose(fields.count)
        // Most of a message lies within messages.
        if case .message(var inner) = fields[at].value, mutator.choose(4) > 0 {
            inner.mutate(&mutator, pool)
            fields[at].value = .message(inner)
            return
        }
        switch mutator.choose(7) {
        case 0: fields.remove(at: at)
        case 1: fields.insert(fields[at], at: mutator.choose(fields.count))
        case 2: fields.swapAt(at, mutator.choose(fields.count))
        case 3: fields[at].number = UInt64(1 + mutator.choose(mutator.choose(8) == 0 ? 70 : 9))
        case 4:
            let whole = Array(fields[at...])
            for _ in 0..<mutator.choose(40) { fields.append(whole[mutator.choose(whole.count)]) }
        default: fields[at].value = changed(fields[at].value, &mutator, pool)
        }
    }

    private func changed(_ value: Value, _ mutator: inout Mutator, _ pool: [[UInt8]]) -> Value {
        switch value {
        case .varint(let number):
            let choices: [UInt64] = [
                0, 1, number &+ 1, number &- 1, .max, 1 << 63, 1 << 31, number << 7, 0 &- number, UInt64(mutator.choose(100_000)),
            ]
            return .varint(choices[mutator.choose(choices.count)])
        case .fixed(let bytes): return .fixed(Array((mutator.changed(bytes, pool) + bytes).prefix(bytes.count)))
        case .bytes(let bytes): return .bytes(mutator.changed(bytes, pool))
        case .message(let inner): return .bytes(mutator.changed(inner.bytes, pool))
        }
    }
}
