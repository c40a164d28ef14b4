import CDuckDB
import Contracts

/// Keel's values and types as DuckDB's.
enum DuckDBValue {
    /// A DuckDB value to bind; the caller destroys it.
    static func make(_ api: keel_duckdb_api, _ value: Value) throws(KeelError) -> keel_duckdb_handle? {
        switch value {
        case .null: return api.create_null_value()
        case .bool(let v): return api.create_bool(v)
        case .int(let v): return api.create_int64(v)
        case .double(let v): return api.create_double(v)
        case .string(let v):
            var text = v
            return text.withUTF8 { bytes in
                bytes.withMemoryRebound(to: CChar.self) { api.create_varchar_length($0.baseAddress, UInt64($0.count)) }
            }
        case .bytes(let v): return v.withUnsafeBufferPointer { api.create_blob($0.baseAddress, UInt64($0.count)) }
        case .date(let days): return api.create_date(keel_duckdb_date(days: days))
        case .timestamp(let v): return api.create_timestamp(keel_duckdb_timestamp(micros: v.microseconds))
        case .list(let items):
            var element = try type(api, elementType(items))
            defer { api.destroy_logical_type(&element) }
            var values: [keel_duckdb_handle?] = []
            defer { for var value in values { api.destroy_value(&value) } }
            for item in items { values.append(try make(api, item)) }
            return values.withUnsafeMutableBufferPointer { api.create_list_value(element, $0.baseAddress, UInt64($0.count)) }
        }
    }

    /// The type that holds all items: that of the first item with a value, widened from integers to floats when both occur.
    private static func elementType(_ items: [Value]) -> DataType {
        var found = DataType.string
        for item in items.reversed() {
            switch item {
            case .null: continue
            case .bool: found = .bool
            case .int: found = found == .float64 ? .float64 : .int64
            case .double: found = .float64
            case .string: found = .string
            case .bytes: found = .bytes
            case .date: found = .date
            case .timestamp: found = .timestamp
            case .list(let inner): found = .list(elementType(inner))
            }
        }
        return found
    }

    /// The logical type that a column is written as; the caller destroys it.
    static func type(_ api: keel_duckdb_api, _ type: DataType) throws(KeelError) -> keel_duckdb_handle? {
        switch type {
        case .bool: return api.create_logical_type(DuckDBType.boolean)
        case .int32: return api.create_logical_type(DuckDBType.integer)
        case .int64: return api.create_logical_type(DuckDBType.bigint)
        case .float32: return api.create_logical_type(DuckDBType.float)
        case .float64: return api.create_logical_type(DuckDBType.double)
        case .string: return api.create_logical_type(DuckDBType.varchar)
        case .bytes: return api.create_logical_type(DuckDBType.blob)
        case .date: return api.create_logical_type(DuckDBType.date)
        case .timestamp: return api.create_logical_type(DuckDBType.timestamp)
        case .list(let element), .tensor(let element, _):
            var inner = try self.type(api, element)
            defer { api.destroy_logical_type(&inner) }
            return api.create_list_type(inner)
        }
    }

    /// The same type in SQL.
    static func sqlName(_ type: DataType) -> String {
        switch type {
        case .bool: "BOOLEAN"
        case .int32: "INTEGER"
        case .int64: "BIGINT"
        case .float32: "FLOAT"
        case .float64: "DOUBLE"
        case .string: "VARCHAR"
        case .bytes: "BLOB"
        case .date: "DATE"
        case .timestamp: "TIMESTAMP"
        case .list(let element), .tensor(let element, _): sqlName(element) + "[]"
        }
    }
}

extension DataType {
    /// The type as SQL for DuckDB, for `CAST(x AS …)` and column definitions.
    public var duckDBName: String { DuckDBValue.sqlName(self) }
}
